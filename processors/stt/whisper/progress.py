"""What has been decoded of a sound, and which of its utterances each word belongs to. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from processors.stt.core import (
    DecodedSegment,
    DecodedWord,
    DecodeResult,
    Hypothesis,
    compression_ratio,
    is_repetitive,
)
from processors.stt.filters.speech import SPEECH_THRESHOLD
from processors.stt.whisper.backend import FRAMES_PER_SECOND, FULL_WINDOW, Features, Prompt, Search, Whisper
from processors.stt.whisper.language import Evidence
from processors.stt.whisper.prepared import PreparedAudio, text_length
from processors.stt.whisper.tokens import AlignedWord, Span, assign_words

_MIN_REST = 0.5
"""Seconds. A shorter undecoded rest cannot hold a word."""

_SLACK = 0.05
"""Seconds by which the middle of a word may lie before the sound of its utterance."""

_LONGEST_REST = 2.0
"""Seconds at the end of a part, of which 0.3 are padding, in which more than a breath would be missing."""

_LEAST_PROBABILITY = 1e-4


@dataclass(eq=False)
class Progress:
    """What has been decoded of a sound so far. The lists have an element for each part."""

    audio: PreparedAudio
    languages: list[str] = field(default_factory=list)
    detected: list[Mapping[str, float]] = field(default_factory=list)
    main: str = ""
    """The language that is spoken longest, if it seems that there are several; parts in others are decoded apart."""
    segments: list[list[DecodedSegment]] = field(default_factory=list)
    no_speech: float = 0.0
    fallback: Search | None = None
    is_repetitive: bool = False

    def runs(self) -> list[tuple[int, int, str]]:
        """First and last part of each run of parts in the same language."""
        found = []
        for language, members in groupby(range(len(self.languages)), self.languages.__getitem__):
            run = list(members)
            found.append((run[0], run[-1], language))
        return found


@dataclass(eq=False)
class Rest:
    """What is still to be decoded of a sound: all of it from frame `start` on."""

    progress: Progress
    start: int = 0

    @property
    def audio(self) -> PreparedAudio:
        """The whole sound."""
        return self.progress.audio

    @property
    def frames(self) -> int:
        """Its length, as far as a window holds it."""
        return min(self.audio.frames - self.start, FULL_WINDOW)

    @property
    def length(self) -> int:
        """Frames that the limit of its text is for."""
        return text_length(self.frames, self.audio.shortest)

    @property
    def window(self) -> int:
        """Frames of its encoder window."""
        return max(self.length, self.audio.shortest)

    @property
    def features(self) -> Features:
        """Its features."""
        return self.audio.features[:, self.start :]

    @property
    def prompt(self) -> Prompt:
        """What its decoding starts from."""
        audio = self.audio
        return Prompt(self.progress.languages[0], audio.options.task, audio.context, timestamps=audio.timestamps)


@dataclass(eq=False)
class Window:
    """A decoded window, and where its encoding is: row `row` of `encoded`."""

    rest: Rest
    hypothesis: Hypothesis
    encoded: Any
    row: int
    spans: list[Span] = field(default_factory=list)
    resume_at: float | None = None
    """Second at which decoding must go on by the timestamps, because the text is not complete."""
    last_word_end: float = 0.0


def rest_of(window: Window) -> Rest | None:
    """What is left of a sound, if that is more than nothing.

    Timestamps can be seconds too early, and what is decoded already would be decoded twice; words tell better where
    the text ends.
    """
    rest = window.rest
    is_cut = window.hypothesis.is_cut and not is_repetitive(window.hypothesis)
    resume_at = window.last_word_end if is_cut else window.resume_at
    at = max(resume_at or rest.frames / FRAMES_PER_SECOND, window.last_word_end)
    start = rest.start + round(at * FRAMES_PER_SECOND)
    return Rest(rest.progress, start) if rest.audio.frames - start >= _MIN_REST * FRAMES_PER_SECOND else None


def by_language(progress: Progress) -> Iterator[tuple[int, PreparedAudio]]:
    """The sound of each run of parts in the main language, and of each other part; with the number of the first part.

    The detection beside others can be wrong, so the language of other parts is detected again by their own sound.
    """
    for first, last, language in progress.runs():
        if language == progress.main:
            yield first, progress.audio.excerpt(first, last, language)
        else:
            for part in range(first, last + 1):
                yield part, progress.audio.excerpt(part, part, None, (Evidence(progress.main, 0.9, 30.0, 1.0),))


def is_suspect(progress: Progress, part: int) -> bool:
    """Whether what one part was decoded to beside others may miss words or be part of a loop."""
    heard, segments = progress.audio.heard[part], progress.segments[part]
    if heard.speech < SPEECH_THRESHOLD:
        return False
    words = [word for segment in segments for word in segment.words]
    return progress.is_repetitive or not words or heard.seconds - words[-1].end > _LONGEST_REST


def word_count(result: DecodeResult) -> int:
    """How many words there are; characters, where there are no spaces."""
    return len(result.text.split()) if " " in result.text else len(result.text)


def segments_of(whisper: Whisper, window: Window, words: Sequence[AlignedWord]) -> Iterator[tuple[int, DecodedSegment]]:
    """The segments of a window, each with the number of its part; those of the context are left out."""
    audio, at = window.rest.audio, window.rest.start / FRAMES_PER_SECOND
    for span, mine in assign_words(window.spans, words):
        text = whisper.text(span.tokens)
        if not text.strip():
            continue
        if mine:
            window.last_word_end = mine[-1].end
        if not audio.is_shared:
            yield 0, _segment(text, len(span.tokens), window.hypothesis.mean_log_probability, mine, at)
            continue
        if not mine:  # the aligner found no words
            if (part := _part_at(audio, at + (span.start + span.end) / 2)) is not None:
                yield part, _segment(text, len(span.tokens), window.hypothesis.mean_log_probability, (), at)
            continue
        for found, members in groupby(mine, lambda word: _part_at(audio, at + (word.start + word.end) / 2)):
            if found is not None:
                own = list(members)
                tokens = sum(word.tokens for word in own)
                likely = sum(word.tokens * math.log(max(word.probability, _LEAST_PROBABILITY)) for word in own)
                text = "".join(word.text for word in own)
                yield found, _segment(text, tokens, likely / max(1, tokens), own, at - audio.heard[found].start)


def _segment(text: str, tokens: int, likely: float, words: Iterable[AlignedWord], at: float) -> DecodedSegment:
    return DecodedSegment(
        text=text,
        tokens=tokens,
        mean_log_probability=likely,
        compression_ratio=compression_ratio(text.strip()),
        words=tuple(DecodedWord(w.text, at + w.start, at + w.end, w.probability) for w in words),
    )


def _part_at(audio: PreparedAudio, seconds: float) -> int | None:
    """The part whose words are said at this time; None: it is context."""
    found = None
    for number, part in enumerate(audio.heard):
        if seconds >= part.own - _SLACK or part.own == 0:
            found = number
    return found


def results_of(progress: Progress) -> list[DecodeResult]:
    """The result of each part."""
    audio, fallback = progress.audio, progress.fallback
    shared: dict[str, Any] = {}
    if audio.is_shared:
        # Where a word is depends on the others in the window.
        shared = {"context": round(audio.heard[0].own, 2), "together": len(audio.heard)}
    return [
        DecodeResult(
            segments=tuple(segments),
            language=progress.languages[number],
            language_probability=_probability(progress, number),
            no_speech_probability=progress.no_speech,
            # The parts of a shared window are evidence for each other already.
            languages={} if audio.is_shared or not progress.detected else progress.detected[number],
            decoding={
                "speech": round(part.speech, 3),
                "window": audio.cost,
                **shared,
                "fallback": {"beam_size": fallback.beam_size, "repetition_penalty": fallback.repetition_penalty}
                if fallback
                else None,
            },
        )
        for number, (part, segments) in enumerate(zip(audio.heard, progress.segments, strict=True))
    ]


def _probability(progress: Progress, part: int) -> float:
    """The probability of the language of a part by detection; 1 if it was given."""
    return progress.detected[part].get(progress.languages[part], 0.0) if progress.detected else 1.0
