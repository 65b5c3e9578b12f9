"""From what the speech model decoded to what is published: transcripts and interim results. Pure."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contract import RATE, Partial, Transcript, Utterance, Word

MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH_PROBABILITY = 0.6


class UnsupportedOptions(ValueError):
    """The job asks for a language or a model that is not available here; no retry can change that."""


class OutOfMemory(Exception):
    """The device has no memory left for a batch of this size."""


class DeviceLost(Exception):
    """The device serves this process no more; only another process can use it."""


@dataclass(frozen=True)
class Hypothesis:
    """What one window of audio was decoded to, and the model's own figures about it."""

    mean_log_probability: float
    compression_ratio: float
    no_speech_probability: float
    tokens: tuple[int, ...] = ()
    """Text and timestamp tokens."""
    is_cut: bool = False
    """Whether the text ended only because it may not be longer."""


def compression_ratio(text: str) -> float:
    """Length of a text divided by its length after zlib; repetitive text has a high ratio. As in openai/whisper."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_poor(hypothesis: Hypothesis) -> bool:
    """Whether to decode once more: the text is too repetitive or too unlikely, and the window is not silence.

    The rule and its thresholds are Whisper's own: `decode_with_fallback` in openai/whisper, whisper/transcribe.py, and
    `generate_with_fallback` in faster-whisper. They then sample at random; we do not, see decision 7.
    """
    unlikely = hypothesis.mean_log_probability < MIN_LOG_PROBABILITY
    if unlikely and hypothesis.no_speech_probability > MAX_NO_SPEECH_PROBABILITY:
        return False
    return unlikely or is_repetitive(hypothesis)


def is_silence(hypothesis: Hypothesis) -> bool:
    """Whether to drop the text because nobody speaks: Whisper's own rule, in openai/whisper, whisper/transcribe.py."""
    return (
        hypothesis.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
        and hypothesis.mean_log_probability <= MIN_LOG_PROBABILITY
    )


def is_better(second: Hypothesis, first: Hypothesis) -> bool:
    """Whether the second hypothesis replaces a poor first one; if they are equally good, the first stays.

    A second one that is not poor always wins. If both are poor, one that is not repetitive wins over one that is, and
    then the likelier one wins, as in faster-whisper.
    """
    if not is_poor(second):
        return True

    def rank(hypothesis: Hypothesis) -> tuple[bool, float]:
        return not is_repetitive(hypothesis), hypothesis.mean_log_probability

    return rank(second) > rank(first)


def is_repetitive(hypothesis: Hypothesis) -> bool:
    """Whether the text repeats itself more than people do."""
    return hypothesis.compression_ratio > MAX_COMPRESSION_RATIO


@dataclass(frozen=True)
class Part:
    """An utterance in a sound that is decoded as a whole, in samples of that sound.

    Its words are those from `own` on, which is where its lead begins, up to the next part. What comes before the first
    part is context: it is heard, and its words are left out.
    """

    own: int
    start: int
    end: int


@dataclass(frozen=True)
class DecodedWord:
    """A word; times in seconds from the start of the utterance."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class DecodedSegment:
    """The text between two timestamps of the model."""

    text: str
    tokens: int
    mean_log_probability: float
    compression_ratio: float
    words: tuple[DecodedWord, ...] = ()


@dataclass(frozen=True)
class DecodeResult:
    """All that the engine made of one utterance; without segments there is no text."""

    segments: tuple[DecodedSegment, ...]
    language: str
    language_probability: float
    no_speech_probability: float = 0.0
    decoding: dict[str, Any] = field(default_factory=dict)
    """How it was decoded, as transcripts record it."""
    languages: Mapping[str, float] = field(default_factory=dict)
    """Detected languages, most likely first; empty if the language was given."""
    elapsed: float = 0.0
    """Seconds that inference took, for the whole batch."""
    timing: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Seconds that each kind of call of the model took, for the whole batch."""
    parts: tuple[DecodeResult, ...] = ()
    """The results of all utterances that were decoded together, if there are several; this one is then the first."""

    @property
    def text(self) -> str:
        """The whole text on one line."""
        return " ".join("".join(segment.text for segment in self.segments).split())


@dataclass(frozen=True)
class Model:
    """Which speech model wrote a transcript."""

    name: str
    hash: str


def transcript(utterance: Utterance, result: DecodeResult, model: Model) -> Transcript:
    """Build the transcript of an utterance."""
    segments = result.segments
    return Transcript(
        job=utterance.job,
        generation=utterance.generation,
        index=utterance.index,
        start=utterance.start,
        end=utterance.end,
        text=result.text,
        language=result.language or None,
        language_probability=_probability(result.language_probability),
        confidence=confidence(segments),
        no_speech_probability=_probability(result.no_speech_probability),
        compression_ratio=max((s.compression_ratio for s in segments), default=0.0),
        words=place_words((word for segment in segments for word in segment.words), utterance.start, utterance.end),
        model=model.name,
        model_hash=model.hash,
        decoding=result.decoding,
        elapsed=result.elapsed,
        timing=dict(result.timing),
    )


def failed_transcript(utterance: Utterance, reason: str, model: Model) -> Transcript:
    """The transcript of an utterance that could not be transcribed: it has `error` and no text."""
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


def place_words(words: Iterable[DecodedWord], start: int, end: int) -> list[Word]:
    """Words on the job's time line, in samples: in order, without overlap, all within `start` and `end`.

    The model aligns words to a padded window, so that some can lie past the end of the audio.
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


def confidence(segments: Iterable[DecodedSegment]) -> float:
    """The exponential of the mean log-probability of all tokens; 0 if there are none."""
    weighted = [(segment.mean_log_probability, segment.tokens) for segment in segments]
    tokens = sum(count for _, count in weighted)
    if not tokens:
        return 0.0
    return _probability(math.exp(sum(mean * count for mean, count in weighted) / tokens))


def _probability(value: float) -> float:
    """Clamp to 0..1, because the engine's rounding can exceed 1 slightly; NaN becomes 0."""
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)


_WORD = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uff66-\uff9d]|[^\s\u3040-\u30ff\u3400-\u9fff\uff66-\uff9d]+)")
"""A word with the space before it. In Chinese and Japanese, which have no spaces, each character counts as a word."""


def local_agreement(previous: Partial | None, hypothesis: Partial) -> Partial:
    """The hypothesis as it is shown after `previous`: stable text is kept, and words that both have become stable.

    This is LocalAgreement-2: a word is stable once two hypotheses in a row agree on all words up to it, and it is never
    taken back. Source: Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
    Hypothesis Selection" (Interspeech 2020); Machacek et al., "Turning Whisper into Real-Time Transcription System"
    (arXiv:2307.14743).
    """
    if previous is None or (previous.index, previous.start) != (hypothesis.index, hypothesis.start):
        return hypothesis.model_copy(update={"stable": 0})
    kept = previous.text[: previous.stable]
    old, new, fixed = _WORD.findall(previous.text), _WORD.findall(hypothesis.text), len(_WORD.findall(kept))
    common = fixed  # if the model now disagrees with a stable word, the words behind it can still agree
    while common < min(len(old), len(new)) and _same_word(old[common], new[common]):
        common += 1
    text = kept + "".join(new[fixed:])
    stable = kept + "".join(new[fixed:common])
    return hypothesis.model_copy(update={"text": text, "stable": len(stable)})


def _same_word(one: str, other: str) -> bool:
    return _letters(one) == _letters(other)


def _letters(word: str) -> str:
    return "".join(char for char in word.casefold() if char.isalnum())
