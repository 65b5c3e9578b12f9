"""Figures of a conversation from the events of its job. Pure; positions are sample indexes.

Speech lasts from the first word of a transcript to its last, or for the whole segment if its words have no times. A
transcript without words is silence, unless transcription failed: that counts as speech without words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import structlog

from contract import RATE, ContractError, Message, Segmented, read_event
from processors.insights.keywords import Keyword, count_words
from processors.insights.messages import Insights, KeywordAlert, Speaker, SpeakerTranscript

log = structlog.get_logger()

_KINDS: dict[str, type[Message]] = {"transcript": SpeakerTranscript, "segmented": Segmented}


@dataclass(frozen=True)
class Rules:
    """What to look for in a job."""

    keywords: Sequence[Keyword] = ()
    pause: int = 2 * RATE
    """Least silence, in samples, that counts as a pause."""


@dataclass
class Meeting:
    """The transcripts of a job's first generation, which may come in any order; the last one of an index counts."""

    job: str
    rules: Rules
    _segmented: Segmented | None = None
    _transcripts: dict[int, SpeakerTranscript] = field(default_factory=dict)
    _count: int = 0  # transcripts before the first that is missing

    def add(self, subject: str, data: bytes) -> SpeakerTranscript | None:
        """Take an event; returns it if it is a transcript. Raises ContractError if the count cannot be read."""
        event = read_event(subject, data, self._on_error, _KINDS)
        match event:
            case Segmented():
                self._segmented = event
            case SpeakerTranscript(generation=1):
                self._transcripts[event.index] = event
                while self._count in self._transcripts:
                    self._count += 1
                return event
        return None

    def _on_error(self, subject: str, error: ContractError) -> Message | None:
        if subject == Segmented.pattern(self.job):
            raise error  # without the number of utterances nobody can tell when the job is complete
        log.warning("event cannot be read", subject=subject, reason=str(error))
        return SpeakerTranscript.unreadable(subject, str(error))

    @property
    def complete(self) -> bool:
        """Whether the number of utterances is known and each has its transcript."""
        return self._segmented is not None and self._count >= self._segmented.segments

    @property
    def empty(self) -> bool:
        """Whether there are no figures: the job has no audio, or was erased while its transcripts were read."""
        if self._segmented is None:
            return False
        return self._segmented.samples == 0 or self._segmented.segments < len(self._transcripts)

    def insights(self) -> Insights:
        """Figures of the transcripts before the first that is missing; final once there is none."""
        samples = self._segmented.samples if self._segmented and self.complete else None
        transcripts = [self._transcripts[index] for index in range(self._count)]
        return figures(self.job, transcripts, self.rules, samples)


class _Stretch(NamedTuple):
    start: int
    end: int
    words: int = 0
    speaker: str | None = None


def figures(job: str, transcripts: Sequence[SpeakerTranscript], rules: Rules, samples: int | None = None) -> Insights:
    """Figures of transcripts 0 to n - 1, in order. samples: length of the job's audio; None: it is still live."""
    stretches = sorted(filter(None, map(_stretch, transcripts)), key=lambda stretch: stretch[:2])
    until = max([samples or 0, *(transcript.end for transcript in transcripts)])
    runs = _runs(stretches, rules.pause)
    pauses = [after.start - before.end for before, after in pairwise(runs)]
    known = bool(stretches) and all(stretch.speaker for stretch in stretches)
    longest = _longest_monologue(stretches, rules.pause)
    texts = [transcript.text for transcript in transcripts]
    return Insights(
        job=job,
        final=samples is not None,
        segments=len(transcripts),
        failed=sum(transcript.error is not None for transcript in transcripts),
        until=until,
        talk_seconds=_seconds(_length(stretches)),
        silence_share=round(1 - _length(stretches) / until, 4) if until else None,
        words=sum(stretch.words for stretch in stretches),
        words_per_minute=_pace(stretches),
        pauses=len(pauses),
        longest_pause_seconds=_seconds(max(pauses, default=0)),
        longest_monologue_seconds=_seconds(_span(longest)),
        longest_monologue_start=longest.start if longest else None,
        keywords={keyword.text: sum(map(keyword.count, texts)) for keyword in rules.keywords},
        speakers=_speakers(stretches, rules.pause) if known else None,
        interruptions=len(_interruptions(stretches)) if known else None,
        overlap_seconds=_seconds(_overlap(stretches)) if known else None,
    )


def alert(transcript: SpeakerTranscript, rules: Rules) -> KeywordAlert | None:
    """The alert about a transcript, if it has keywords."""
    counts = {keyword.text: keyword.count(transcript.text) for keyword in rules.keywords}
    found = {text: count for text, count in counts.items() if count}
    if not found:
        return None
    fields: dict[str, Any] = transcript.model_dump(include={"job", "generation", "index", "start", "end", "text"})
    return KeywordAlert(**fields, keywords=found, speaker=transcript.speaker)


def _stretch(transcript: SpeakerTranscript) -> _Stretch | None:
    words = count_words(transcript.text)
    start, end = transcript.start, transcript.end
    if not words and (transcript.error is None or start == end):
        return None
    if transcript.words:
        start, end = transcript.words[0].start, transcript.words[-1].end
    return _Stretch(start, max(start, end), words, transcript.speaker)


def _runs(stretches: Iterable[_Stretch], pause: int) -> list[_Stretch]:
    """Join stretches with less than `pause` samples of silence between them; they come in order of their starts."""
    runs: list[_Stretch] = []
    for start, end, *_ in stretches:
        if runs and start - runs[-1].end < pause:
            runs[-1] = _Stretch(runs[-1].start, max(runs[-1].end, end))
        else:
            runs.append(_Stretch(start, end))
    return runs


def _length(stretches: Iterable[_Stretch]) -> int:
    """Samples in which at least one person spoke."""
    return sum(run.end - run.start for run in _runs(stretches, 1))


def _pace(stretches: Iterable[_Stretch]) -> float | None:
    """Words per minute of the speech that has words."""
    with_words = [stretch for stretch in stretches if stretch.words]
    minutes = _length(with_words) / RATE / 60
    return round(sum(stretch.words for stretch in with_words) / minutes, 1) if minutes else None


def _longest_monologue(stretches: Iterable[_Stretch], pause: int, name: str | None = None) -> _Stretch | None:
    """The longest, the first of equals, of one speaker or of any; a pause or another speaker ends a monologue."""
    turns = groupby(stretches, lambda stretch: stretch.speaker)
    runs = [run for speaker, turn in turns for run in _runs(turn, pause) if name in (None, speaker)]
    return max(runs, key=lambda run: run.end - run.start, default=None)


def _speakers(stretches: Sequence[_Stretch], pause: int) -> list[Speaker]:
    """In the order in which they first spoke."""
    names = dict.fromkeys(stretch.speaker for stretch in stretches if stretch.speaker)
    parts = {name: [stretch for stretch in stretches if stretch.speaker == name] for name in names}
    total = sum(map(_length, parts.values()))
    began = [stretch.speaker for stretch in _interruptions(stretches)]
    return [
        Speaker(
            speaker=name,
            talk_seconds=_seconds(_length(part)),
            talk_share=round(_length(part) / total, 4) if total else 0.0,
            words=sum(stretch.words for stretch in part),
            words_per_minute=_pace(part),
            longest_monologue_seconds=_seconds(_span(_longest_monologue(stretches, pause, name))),
            interruptions=began.count(name),
        )
        for name, part in parts.items()
    ]


def _interruptions(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """The stretches with which a silent speaker started while another one was speaking."""
    found, last = [], dict[str | None, _Stretch]()
    for stretch in stretches:
        speaking = {name for name, other in last.items() if other.start < stretch.start < other.end}
        if speaking and stretch.speaker not in speaking:
            found.append(stretch)
        last[stretch.speaker] = max(stretch, last.get(stretch.speaker, stretch), key=lambda one: one.end)
    return found


def _overlap(stretches: Sequence[_Stretch]) -> int:
    """Samples in which more than one person spoke."""
    names = {stretch.speaker for stretch in stretches}
    runs = [run for name in names for run in _runs((one for one in stretches if one.speaker == name), 1)]
    edges = sorted([(run.start, 1) for run in runs] + [(run.end, -1) for run in runs])
    total = speaking = 0
    for (at, change), (following, _) in pairwise(edges):
        speaking += change
        total += following - at if speaking > 1 else 0
    return total


def _span(run: _Stretch | None) -> int:
    return run.end - run.start if run else 0


def _seconds(samples: int) -> float:
    return round(samples / RATE, 3)
