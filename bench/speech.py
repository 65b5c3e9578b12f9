"""Sentences, and streams in which they are said at the pace of ordinary talk. Those of samples/ are read here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import mean

import jiwer
import numpy as np
from numpy.typing import NDArray

from audio import decode
from contract import RATE, WIDTH

PADDING = 0.3
"""Seconds before and after each sentence, as the segmenter keeps them."""

LEAST_PAUSE = 1.1
"""Seconds between two sentences: enough more than the hangover that each is an utterance of its own, noisy ones too."""

EVERY = 3.5
"""Seconds from the start of a sentence to that of the next of its stream, on average."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a stream talks; `every` and `least_pause` as EVERY and LEAST_PAUSE.

    in_order: it goes through the sentences from any one on, so that most follow what was said before; else each is
    drawn.
    """

    every: float = EVERY
    least_pause: float = LEAST_PAUSE
    in_order: bool = False


SAMPLES = Pace()

REMEMBERED = 5
"""Sentences of a stream that a speech engine may hear again for context."""

_FLOOR_DB = -78.0
"""Below the talk, as in samples/."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as somebody says it: mono s16le at 16 kHz, with PADDING around it."""

    text: str
    language: str
    pcm: bytes

    @property
    def seconds(self) -> float:
        """Its sound, with the padding."""
        return len(self.pcm) / WIDTH / RATE

    @property
    def spoken(self) -> float:
        """Its sound, without the padding."""
        return self.seconds - 2 * PADDING


@dataclass(frozen=True, slots=True)
class Arrival:
    """An utterance is there, `at` seconds from the beginning; `sentence`: which one it is.

    before: what its stream said before, up to REMEMBERED sentences.
    """

    at: float
    stream: int
    sentence: int
    before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """Where on a tape the speech of a sentence lies, in samples."""

    start: int
    end: int
    sentence: int


def load_sentences(folder: Path) -> list[Sentence]:
    """Those of a folder as samples/ that no other is close to; raises ValueError if there is none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text("utf-8"))["sentences"]
        if any((b["start"] - a["end"]) / RATE < 2 * PADDING for a, b in pairwise(said)):
            continue
        pcm = b"".join(decode(path.with_suffix(".flac"))) if said else b""
        for one in said:
            start = max(0, one["start"] - round(PADDING * RATE))
            cut = pcm[start * WIDTH : (one["end"] + round(PADDING * RATE)) * WIDTH]
            found.append(Sentence(one["text"], one["language"], cut))
    if not found:
        raise ValueError(f"{folder}: no sentences with {2 * PADDING:g} s of silence between them")
    return found


def talk(sentences: Sequence[Sentence], random: Random, pace: Pace = SAMPLES) -> Iterator[tuple[float, int]]:
    """One stream without end: when a sentence's speech starts, and which it is. It began some time before 0."""
    pause = pace.every - mean(sentence.spoken for sentence in sentences)
    if pause < pace.least_pause:
        raise ValueError(f"the sentences are too long for one every {pace.every:.1f} s")
    at = -random.uniform(5, 6) * pace.every
    which = random.randrange(len(sentences))
    while True:
        yield at, which
        at += sentences[which].spoken + random.uniform(pace.least_pause, 2 * pause - pace.least_pause)
        which = (which + 1) % len(sentences) if pace.in_order else random.randrange(len(sentences))


def arrivals(
    sentences: Sequence[Sentence], streams: int, seconds: float, seed: int, pace: Pace = SAMPLES
) -> list[Arrival]:
    """When the utterances of so many streams are there, in order: each at its end, all within `seconds`."""
    found = []
    for stream in range(streams):
        before: tuple[int, ...] = ()
        for start, which in talk(sentences, Random(f"{seed} {stream}"), pace):  # noqa: S311 - not for secrets
            at = start + sentences[which].spoken
            if at >= seconds:
                break
            if at >= 0:
                found.append(Arrival(at, stream, which, before))
            before = (*before, which)[-REMEMBERED:]
    return sorted(found, key=lambda arrival: (arrival.at, arrival.stream))


def in_a_row(sentences: int) -> list[Arrival]:
    """All sentences as one stream says them in order, all there at once."""
    return [Arrival(0.0, 0, which, tuple(range(max(0, which - REMEMBERED), which))) for which in range(sentences)]


def duty_cycle(sentences: Sequence[Sentence], pace: Pace = SAMPLES) -> float:
    """The share of its time in which a stream has speech."""
    return mean(sentence.spoken for sentence in sentences) / pace.every


def tape(sentences: Sequence[Sentence], seconds: float, seed: int, pace: Pace = SAMPLES) -> tuple[bytes, list[Said]]:
    """The sound of one stream for about so long, as its microphone has it, and what is said in it, in order.

    Mono s16le at 16 kHz; each sentence is in it whole, with the least pause behind the last.
    """
    said = []
    for start, which in talk(sentences, Random(seed), pace):  # noqa: S311 - not for secrets
        if start + sentences[which].spoken + pace.least_pause > seconds:
            break
        if start >= PADDING:
            first = round(start * RATE)
            said.append(Said(first, first + round(sentences[which].spoken * RATE), which))
    sound = room_noise(round(seconds * RATE), seed)
    for one in said:
        first, speech = one.start - round(PADDING * RATE), np.frombuffer(sentences[one.sentence].pcm, np.int16)
        sound[first : first + len(speech)] = speech
    return sound.tobytes(), said


def room_noise(samples: int, seed: int) -> NDArray[np.int16]:
    """What a microphone hears while nobody speaks."""
    amplitude = 10 ** (_FLOOR_DB / 20) * 32_768
    return np.rint(np.random.default_rng(seed).normal(0, amplitude, samples)).astype(np.int16)


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Over all words, without case and punctuation. Raises ValueError if nothing was said."""
    return float(jiwer.wer([_plain(text) for text in said], [_plain(text) for text in heard]))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", text.casefold()).split())
