"""Training windows: sentences of one language with pauses, distorted as by rooms and microphones."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tools.whisper_micro.corpus import Utterance
from tools.whisper_micro.tokenizer import Specials

RATE = 16_000

Sound = NDArray[np.float32]


class Example(NamedTuple):
    sound: Sound
    tokens: list[int]  # the prompt, then the text that the decoder must learn
    given: int  # number of prompt tokens
    phones: list[int]


class Placed(NamedTuple):
    start: float  # seconds
    end: float
    utterance: int


class Mixer:
    """tokens, phones: of each utterance, in the order of utterances."""

    def __init__(
        self, utterances: list[Utterance], tokens: list[list[int]], phones: list[list[int]], specials: Specials
    ) -> None:
        self._utterances, self._tokens, self._phones, self._specials = utterances, tokens, phones, specials
        self._of = {
            language: [number for number, utterance in enumerate(utterances) if utterance.language == language]
            for language in specials.languages
        }

    def window(self, random: Generator, seconds: float, progress: float) -> Example:
        """A window of at most that length. progress: 0 to 1 through the training; distortion grows with it."""
        if random.random() < 0.04:
            return self._no_speech(random, seconds)
        language = "ko" if random.random() < 0.35 else "en"
        placed = self._place(random, seconds, language)
        sound = _distorted(random, self._mixed(random, seconds, placed), progress)
        tokens, given = self._script(random, language, placed)
        return Example(sound, tokens, given, [phone for place in placed for phone in self._phones[place.utterance]])

    def _no_speech(self, random: Generator, seconds: float) -> Example:
        length = int(random.uniform(0.5, seconds) * RATE)
        loudness = 0 if random.random() < 0.3 else 10 ** random.uniform(-4.5, -1.2)
        special = self._specials
        return Example(
            _noise(random, length) * np.float32(loudness), [special.start, special.no_speech, special.end], 1, []
        )

    def _place(self, random: Generator, seconds: float, language: str) -> list[Placed]:
        now = random.uniform(0, 0.6) if random.random() < 0.8 else random.uniform(0, 1.5)
        full = seconds
        if seconds > 8:
            full *= random.uniform(0.05, 0.35) if random.random() < 0.6 else random.uniform(0.15, 0.97)
        placed: list[Placed] = []
        while True:
            utterance = int(random.choice(self._of[language]))
            length = len(self._utterances[utterance].sound) / RATE
            if now + length > seconds - 0.1:
                if placed:
                    return placed
                if length > seconds - 0.2:
                    continue
                now = 0.05
            if placed and now + length > full:
                return placed
            placed.append(Placed(now, now + length, utterance))
            now += length + _pause(random)
            if random.random() < (0.6 if seconds <= 5 else 0.12):
                return placed

    def _mixed(self, random: Generator, seconds: float, placed: list[Placed]) -> Sound:
        tail = _pause(random) if random.random() < 0.5 else random.uniform(0, 0.4)
        end = min(seconds, placed[-1].end + tail)
        sound = np.zeros(int(end * RATE) + 1, np.float32)
        for place in placed:
            start = int(place.start * RATE)
            speech = self._utterances[place.utterance].sound[: len(sound) - start].astype(np.float32) / 32_768
            sound[start : start + len(speech)] += speech * np.float32(random.uniform(0.7, 1.3))
        return sound

    def _script(self, random: Generator, language: str, placed: list[Placed]) -> tuple[list[int], int]:
        """All tokens, and how many of them are the prompt: sometimes an earlier text, and the start token."""
        special = self._specials
        times = random.random() < 0.6
        said: list[int] = []
        for place in placed:
            start, end = (special.timestamps[round(time / 0.02)] for time in (place.start, place.end))
            said += [start, *self._tokens[place.utterance], end] if times else self._tokens[place.utterance]
        prompt: list[int] = []
        if random.random() < 0.12:
            earlier = random.choice(self._of[language], random.integers(1, 3))
            prompt = [special.previous] + [token for number in earlier for token in self._tokens[number]]
        head = [special.start, special.languages[language], special.transcribe]
        if not times:
            head.append(special.no_timestamps)
        return [*prompt, *head, *said, special.end], len(prompt) + 1


def _pause(random: Generator) -> float:
    return random.uniform(0.1, 0.5) if random.random() < 0.6 else random.uniform(0.5, 1.8)


def _distorted(random: Generator, sound: Sound, progress: float) -> Sound:
    """Apply band limit, reverberation, noise and gain at random, and hardly any at the start of the training."""
    from scipy.signal import butter, fftconvolve, lfilter

    if progress > 0.2 and random.random() < 0.15:
        numerator, denominator = butter(4, random.uniform(3_000, 6_000) / 8_000)
        sound = lfilter(numerator, denominator, sound).astype(np.float32)
    if progress > 0.2 and random.random() < 0.25:
        decay = np.exp(-np.arange(2_400) / random.uniform(200, 900))
        room = decay * random.standard_normal(2_400) * 0.08
        room[0] = 1
        sound = fftconvolve(sound, room)[: len(sound)].astype(np.float32)
    if random.random() < (0.15 if progress < 0.12 else 0.8):
        ratio = 10 ** (-random.uniform(8, 40) / 20)
        sound = sound + _noise(random, len(sound)) * np.float32((np.std(sound) + 1e-5) * ratio)
    return (sound * np.float32(10 ** random.uniform(-1.2, 0.3))).clip(-1, 1)


def _noise(random: Generator, length: int) -> Sound:
    """White, brown or coloured noise, of unit power."""
    from scipy.signal import lfilter

    noise = random.standard_normal(length)
    kind = random.integers(0, 3)
    if kind == 1:
        noise = np.cumsum(noise)
        if length > 400:
            noise -= np.convolve(noise, np.ones(400) / 400, "same")
    elif kind == 2:
        noise = lfilter([1], [1, -random.uniform(0.5, 0.97)], noise)
    return (noise / (np.std(noise) + 1e-6)).astype(np.float32)
