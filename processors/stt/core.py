"""From what the speech engine heard in one utterance to its transcript. Pure: values in, values out."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contract import RATE, Transcript, Utterance, Word

MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH_PROBABILITY = 0.6


class Unfit(ValueError):
    """What is wrong is the utterance itself: no attempt can transcribe it."""


class OutOfMemory(Exception):
    """The device has no room for so much at once."""


@dataclass(frozen=True)
class Decoding:
    """What one window of sound was decoded to, and how good that is by the engine's own figures."""

    mean_log_probability: float
    compression_ratio: float
    no_speech_probability: float
    tokens: tuple[int, ...] = ()
    """Timestamps among them."""


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes a text: the more often it repeats itself, the more. As in openai/whisper."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_poor(decoding: Decoding) -> bool:
    """Whether to decode once more: too repetitive or too unlikely, unless nobody speaks there.

    The rule and its thresholds are Whisper's own: `decode_with_fallback` in openai/whisper, whisper/transcribe.py, and
    `generate_with_fallback` in faster-whisper. What they do then, sampling, gives another text every time.
    """
    unlikely = decoding.mean_log_probability < MIN_LOG_PROBABILITY
    if unlikely and decoding.no_speech_probability > MAX_NO_SPEECH_PROBABILITY:
        return False
    return unlikely or _is_repetitive(decoding)


def is_silence(decoding: Decoding) -> bool:
    """Whether nobody speaks there, whatever the text: Whisper's own rule, in openai/whisper, whisper/transcribe.py."""
    return (
        decoding.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
        and decoding.mean_log_probability <= MIN_LOG_PROBABILITY
    )


def is_better(second: Decoding, first: Decoding) -> bool:
    """Whether a second decoding takes the place of a poor first one; the first stays where neither is better.

    It does if it is not poor. If both are, one that is not too repetitive wins over one that is, and then the likelier
    wins, as in faster-whisper.
    """
    if not is_poor(second):
        return True

    def rank(decoding: Decoding) -> tuple[bool, float]:
        return not _is_repetitive(decoding), decoding.mean_log_probability

    return rank(second) > rank(first)


def _is_repetitive(decoding: Decoding) -> bool:
    return decoding.compression_ratio > MAX_COMPRESSION_RATIO


@dataclass(frozen=True)
class HeardWord:
    """A word as the engine gives it: times in seconds from the start of the utterance."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class HeardSegment:
    """A run of words that the engine decoded together."""

    text: str
    tokens: int
    mean_log_probability: float
    compression_ratio: float
    words: tuple[HeardWord, ...] = ()


@dataclass(frozen=True)
class Heard:
    """All that the engine made of one utterance; no segments: it heard no words."""

    segments: tuple[HeardSegment, ...]
    language: str
    language_probability: float
    no_speech_probability: float = 0.0
    decoding: dict[str, Any] = field(default_factory=dict)
    languages: Mapping[str, float] = field(default_factory=dict)
    """What detection found, most likely first; empty where the language was given."""
    elapsed: float = 0.0
    """Seconds that inference took, with all that was decoded together with it."""

    @property
    def text(self) -> str:
        """All that was heard, on one line."""
        return " ".join("".join(segment.text for segment in self.segments).split())


@dataclass(frozen=True)
class Model:
    """Which speech model wrote a transcript."""

    name: str
    hash: str


def transcript(utterance: Utterance, heard: Heard, model: Model) -> Transcript:
    """Put together the transcript of an utterance."""
    segments = heard.segments
    return Transcript(
        job=utterance.job,
        generation=utterance.generation,
        index=utterance.index,
        start=utterance.start,
        end=utterance.end,
        text=heard.text,
        language=heard.language or None,
        language_probability=_probability(heard.language_probability),
        confidence=confidence(segments),
        no_speech_probability=_probability(heard.no_speech_probability),
        compression_ratio=max((s.compression_ratio for s in segments), default=0.0),
        words=place_words((word for segment in segments for word in segment.words), utterance.start, utterance.end),
        model=model.name,
        model_hash=model.hash,
        decoding=heard.decoding,
        elapsed=heard.elapsed,
    )


def failed_transcript(utterance: Utterance, reason: str, model: Model) -> Transcript:
    """The transcript that takes the index of an utterance that could not be transcribed."""
    return Transcript(
        job=utterance.job,
        generation=utterance.generation,
        index=utterance.index,
        start=utterance.start,
        end=utterance.end,
        text="",
        model=model.name,
        model_hash=model.hash,
        error=reason,
    )


def place_words(words: Iterable[HeardWord], start: int, end: int) -> list[Word]:
    """Words on the job's time line, in samples: in order, not overlapping, all within `start` and `end`.

    The engine aligns words to a window padded to 30 s, so that it can place some past the end of the sound.
    """
    placed: list[Word] = []
    at = start
    for word in words:
        text = word.text.strip()
        if not text:
            continue
        first = min(max(start + round(word.start * RATE), at), end)
        at = min(max(start + round(word.end * RATE), first), end)
        placed.append(Word(word=text, start=first, end=at, probability=_probability(word.probability)))
    return placed


def confidence(segments: Iterable[HeardSegment]) -> float:
    """The exponential of the mean log-probability of all tokens; 0 where there are none."""
    weighted = [(segment.mean_log_probability, segment.tokens) for segment in segments]
    tokens = sum(count for _, count in weighted)
    if not tokens:
        return 0.0
    return _probability(math.exp(sum(mean * count for mean, count in weighted) / tokens))


def _probability(value: float) -> float:
    """Within 0 and 1, which rounding in the engine can miss by a hair; what is not a number says nothing: 0."""
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)
