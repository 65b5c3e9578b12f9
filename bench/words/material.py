"""What is transcribed: recordings of people, alone, in turn and without a break, and mixes made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from audio import RATE, WIDTH, decode
from bench.words.mixes import CHANNELS, NOISES, RATIOS, background, mix
from tests.processors.stt.acoustics import Sound, noise
from tests.processors.stt.acoustics import pcm as to_pcm
from tests.processors.stt.nonspeech import made, names
from tools.assets import Recording, breaths, people

READING = "two_cities"
CALL = "sample"
SENTENCE = "61-70968-0000"
"""Names among `tools.assets.people`."""

READINGS = 8
LONG_SECONDS = 1_200
PAUSE = 1.0
"""Seconds between recordings that are played in turn: more than the hangover, so that each ends a segment."""

TURN = 0.2
"""Seconds between people who answer each other: less than the hangover."""

THREE = ("sense_and_sensibility_01_austen_64kb", "multilingual_ipa_us", "multilingual_ipa")
"""Names of people of whom there are several sentences, without the number of the sentence."""

TURNS = 2
"""Sentences of each of the three that mixes are made of."""

VOICES = 6
SOUNDS = 500


@dataclass(frozen=True)
class Material:
    """Something to transcribe. Its errors are counted with those of its group; `slow`: only measured when asked for."""

    name: str
    group: str
    text: str
    """What is said."""
    language: str
    load: Callable[[], bytes] = field(repr=False)
    """Makes its sound, mono s16le at 16 kHz."""
    slow: bool = False


def load(path: Path) -> bytes:
    """A file as mono s16le at 16 kHz."""
    return b"".join(decode(path))


def to_sound(pcm: bytes) -> Sound:
    """A vector with full scale at 1."""
    return np.frombuffer(pcm, "<i2") / 32_768


def in_turn(recordings: Sequence[Recording], pause: float) -> bytes:
    """One recording after the other, each with a pause behind it."""
    silence = bytes(round(pause * RATE) * WIDTH)
    return b"".join(load(one.path) + silence for one in recordings)


def materials() -> list[Material]:
    """All that there is. Raises what `tools.assets.people` raises."""
    recordings = people()
    return [*_recordings(recordings), *_readings(recordings), *_mixes(recordings)]


def _recordings(recordings: Sequence[Recording]) -> Iterator[Material]:
    for one in recordings:
        group = "call" if one.name == CALL else "people" if one.language == "en" else "other languages"
        yield Material(one.name, group, one.text, one.language, partial(load, one.path))
    clips = [one for one in recordings if one.language == "en" and one.name not in (READING, CALL)]
    yield Material("clips in turn", "clips", _text(clips), "en", lambda: in_turn(clips, PAUSE))
    turns = _three_people(recordings)
    yield Material("three people in turn", "clips", _text(turns), "en", lambda: in_turn(turns, TURN))


def _readings(recordings: Sequence[Recording]) -> Iterator[Material]:
    (reading,) = (one for one in recordings if one.name == READING)

    def unbroken(times: int) -> bytes:
        return load(reading.path) * times

    def noisy() -> bytes:
        speech = to_sound(unbroken(READINGS))
        return to_pcm(mix(speech, noise(np.random.default_rng(0), len(speech) / RATE), 10))

    text = " ".join([reading.text] * READINGS)
    yield Material("reading", "reading", text, "en", lambda: unbroken(READINGS))
    yield Material("reading at 10 dB", "reading_10db", text, "en", noisy)
    times = round(LONG_SECONDS / (len(unbroken(1)) / WIDTH / RATE))
    yield Material("20 minutes", "long", " ".join([reading.text] * times), "en", lambda: unbroken(times), slow=True)


def _mixes(recordings: Sequence[Recording]) -> Iterator[Material]:
    short = _three_people(recordings)[: 3 * TURNS]
    text = _text(short)

    def talk() -> bytes:
        return in_turn(short, PAUSE)

    def changed(change: Callable[[bytes], bytes]) -> bytes:
        return change(talk())

    def with_noise(name: str, decibels: float) -> bytes:
        others = [one for one in recordings if one not in short][:VOICES]
        speech = to_sound(talk())
        voices = [to_sound(load(one.path)) for one in others] if name == "babble" else []
        return to_pcm(mix(speech, background(name, len(speech) / RATE, voices), decibels))

    for kind in NOISES:
        for decibels in RATIOS:
            yield Material(
                f"{kind} at {decibels} dB",
                "mixes",
                text,
                "en",
                partial(with_noise, kind, decibels),
                slow=(kind, decibels) not in QUICK,
            )
    for name, change in CHANNELS.items():
        yield Material(name, "mixes", text, "en", partial(changed, change))


QUICK = {("white", 10), ("babble", 10), ("fan", 5), ("chords", 10)}
"""Noises that are measured in any case."""


def _three_people(recordings: Sequence[Recording]) -> list[Recording]:
    """Sentences of THREE people, each of them in turn."""
    spoken = [[one for one in recordings if one.name.rstrip("-_0123456789") == speaker] for speaker in THREE]
    return [one for turn in zip(*spoken, strict=False) for one in turn]


def _text(recordings: Sequence[Recording]) -> str:
    return " ".join(one.text.strip() for one in recordings)


@dataclass(frozen=True)
class Nonspeech:
    """Mono s16le at 16 kHz in which nothing is said from sample `since` on."""

    name: str
    pcm: bytes
    since: int = 0


def nonspeech(count: int) -> Iterator[Nonspeech]:
    """Made sounds without speech, and recordings of breaths; of each kind there is one more behind a spoken sentence.

    Raises what `tools.assets.breaths` raises.
    """
    sounds = [*made_sounds(count), *((path.stem, load(path)) for path in breaths())]
    kinds = len(names())
    sentence = in_turn([one for one in people() if one.name == SENTENCE], PAUSE)
    for index, (name, pcm) in enumerate(sounds):
        yield Nonspeech(name, pcm)
        if index < kinds or index >= count:
            since = len(sentence) // WIDTH - round(PAUSE / 2 * RATE)
            yield Nonspeech(f"{name}, behind a sentence", sentence + pcm, since)


def made_sounds(count: int = SOUNDS) -> Iterator[tuple[str, bytes]]:
    """Made sounds without speech: name and mono s16le at 16 kHz. From the second round on they are changed.

    Then each has other random numbers, another speed (3/4 to 4/3) and another level (-20 to +6 dB).
    """
    kinds = names()
    for index in range(count):
        variant, name = index // len(kinds), kinds[index % len(kinds)]
        pcm = made(name, variant)
        if variant:
            random = np.random.default_rng(index)
            samples = to_sound(pcm)
            places = np.arange(0, len(samples) - 1, random.uniform(3 / 4, 4 / 3))
            changed = np.interp(places, np.arange(len(samples)), samples) * 10 ** (random.uniform(-20, 6) / 20)
            pcm = to_pcm(changed)
        yield f"{name}, {variant}", pcm
