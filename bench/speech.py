"""The sentences of samples/, and people who say them: real sound at the pace of ordinary talk."""

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

from audio import decode
from contract import RATE, WIDTH

PADDING = 0.3
"""Seconds before and after each sentence, as the segmenter keeps them."""

LEAST_PAUSE = 1.1
"""Seconds between two sentences: enough more than the hangover that each is an utterance of its own, noisy ones too."""

EVERY = 3.5
"""Seconds from the start of a sentence to that of the next of its stream, on average."""

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
    """An utterance is there, `at` seconds from the beginning; `sentence`: which one it is."""

    at: float
    stream: int
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


def talk(sentences: Sequence[Sentence], random: Random) -> Iterator[tuple[float, int]]:
    """One stream without end: when a sentence's speech starts, and which it is. It began some time before 0."""
    pause = EVERY - mean(sentence.spoken for sentence in sentences)
    if pause < LEAST_PAUSE:
        raise ValueError(f"the sentences are too long for one every {EVERY} s")
    at = -random.uniform(5, 6) * EVERY
    while True:
        which = random.randrange(len(sentences))
        yield at, which
        at += sentences[which].spoken + random.uniform(LEAST_PAUSE, 2 * pause - LEAST_PAUSE)


def arrivals(sentences: Sequence[Sentence], streams: int, seconds: float, seed: int) -> list[Arrival]:
    """When the utterances of so many streams are there, in order: each at its end, all within `seconds`."""
    found = []
    for stream in range(streams):
        for start, which in talk(sentences, Random(f"{seed} {stream}")):  # noqa: S311 - not for secrets
            at = start + sentences[which].spoken
            if at >= seconds:
                break
            if at >= 0:
                found.append(Arrival(at, stream, which))
    return sorted(found, key=lambda arrival: (arrival.at, arrival.stream))


def duty_cycle(sentences: Sequence[Sentence]) -> float:
    """The share of its time in which a stream has speech."""
    return mean(sentence.spoken for sentence in sentences) / EVERY


def tape(sentences: Sequence[Sentence], seconds: float, seed: int) -> tuple[bytes, int]:
    """The sound of one stream for about so long, as its microphone has it, and how many sentences are in it.

    Mono s16le at 16 kHz; each sentence is in it whole, with LEAST_PAUSE behind the last.
    """
    said = []
    for start, which in talk(sentences, Random(seed)):  # noqa: S311 - not for secrets
        if start + sentences[which].spoken + LEAST_PAUSE > seconds:
            break
        if start >= PADDING:
            said.append((start - PADDING, sentences[which]))
    amplitude = 10 ** (_FLOOR_DB / 20) * 32_768
    noise = np.random.default_rng(seed).normal(0, amplitude, round(seconds * RATE))
    sound = np.rint(noise).astype(np.int16)
    for start, sentence in said:
        first, speech = round(start * RATE), np.frombuffer(sentence.pcm, np.int16)
        sound[first : first + len(speech)] = speech
    return sound.tobytes(), len(said)


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Over all words, without case and punctuation. Raises ValueError if nothing was said."""
    return float(jiwer.wer([_plain(text) for text in said], [_plain(text) for text in heard]))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", text.casefold()).split())
