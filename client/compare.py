"""What two transcripts of the same sound say differently, word by word. Pure.

Case and punctuation are no differences. Source of the alignment and of the word error rate: jiwer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jiwer

from client.transcript import Segment

Kind = Literal["replaced", "inserted", "deleted"]


class Spoken(NamedTuple):
    """A word as it is written, and when it was said, in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Change:
    """Neighbouring words that are not the same; `before` is empty where they were inserted, `after` where deleted."""

    kind: Kind
    start: float
    end: float
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """All changes in order of time. wer: errors per word of the first transcript; None where that has no words."""

    words: tuple[int, int]
    replaced: int
    inserted: int
    deleted: int
    changes: tuple[Change, ...]

    @property
    def wer(self) -> float | None:
        """Word error rate of the second transcript if the first were the truth."""
        errors = self.replaced + self.inserted + self.deleted
        return errors / self.words[0] if self.words[0] else None if errors else 0.0


def spoken(segments: Sequence[Segment]) -> list[Spoken]:
    """The words of a transcript in order; of a segment without words those of its text, at the segment's time."""
    found: list[Spoken] = []
    for segment in sorted(segments, key=lambda segment: segment.index):
        timed = [Spoken(word.word, word.start, word.end) for word in segment.words]
        found += timed or [Spoken(word, segment.start, segment.end) for word in segment.text.split()]
    return [Spoken(part, word.start, word.end) for word in found for part in word.word.split() if _letters(part)]


def compare(first: Sequence[Spoken], second: Sequence[Spoken]) -> Comparison:
    """Align two transcripts and tell where they differ."""
    counts = {"replaced": 0, "inserted": 0, "deleted": 0}
    changes = []
    for kind, before, after in _aligned(first, second):
        counts[kind] += max(len(before), len(after))
        there = before or after
        texts = (" ".join(word.word for word in words) for words in (before, after))
        changes.append(Change(kind, there[0].start, there[-1].end, *texts))
    return Comparison((len(first), len(second)), counts["replaced"], counts["inserted"], counts["deleted"], (*changes,))


_KINDS: dict[str, Kind] = {"substitute": "replaced", "insert": "inserted", "delete": "deleted"}


def _aligned(
    first: Sequence[Spoken], second: Sequence[Spoken]
) -> list[tuple[Kind, Sequence[Spoken], Sequence[Spoken]]]:
    if not first:  # jiwer has no rate of nothing, and no alignment then
        return [("inserted", (), second)] if second else []
    said, heard = (" ".join(_letters(word.word) for word in words) for words in (first, second))
    chunks = jiwer.process_words(said, heard).alignments[0]
    return [
        (
            _KINDS[chunk.type],
            first[chunk.ref_start_idx : chunk.ref_end_idx],
            second[chunk.hyp_start_idx : chunk.hyp_end_idx],
        )
        for chunk in chunks
        if chunk.type != "equal"
    ]


def _letters(word: str) -> str:
    """What is compared of a word."""
    return re.sub(r"[\W_]+", "", word.casefold())
