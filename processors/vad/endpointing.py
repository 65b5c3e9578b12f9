"""What is decided about an open segment: when it is announced, and when a pause ends it. Pure.

An announcement tells clients that somebody speaks, and makes a speech worker transcribe the segment so far. The
hypothesis that comes back tells whether a sentence is over. It counts only if it covers all voiced audio: it then ends
with what was said last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import category

from contract import RATE, Partial
from processors.vad.core import OpenSegment

FIRST_HYPOTHESIS = RATE * 400 // 1000
"""Audio from the first voiced frame on that is worth a first hypothesis."""

MIN_INTERVAL = RATE * 500 // 1000
"""Least audio between two hypotheses."""

INTERVAL_SHARE = 5
"""A fifth of the open segment, if that is more: a hypothesis costs as much as the segment is long."""

PAUSE = RATE * 180 // 1000
"""Silence that is worth a hypothesis, so that it is there before it has to be known whether the pause is the end."""

LULL = RATE * 90 // 1000
"""Silence behind which a segment is not announced as grown: it may be over, and the hypothesis of all that was said
should not have to wait until another one has been made.
"""

_ENDS = frozenset(".!?。！？…")  # noqa: RUF001 - these are meant
_QUOTES = frozenset("\"'")
_CLOSING = ("Pe", "Pf", "Pi")
"""Unicode categories of closing brackets and of quotes, of which many languages close with what others open with."""


class Announcements:
    """When to announce the open segments of one job.

    growth: also as they grow, and once in each pause when it is known where they end if nobody goes on speaking; they
    are then not announced again before somebody does. pauses: also as soon as they pause.
    """

    def __init__(self, *, growth: bool, pauses: bool) -> None:
        self._growth = growth
        self._pauses = pauses
        self._index = -1
        self._next = 0  # the sample at which the next announcement is due
        self._pause = -1  # start of the pause that was announced last
        self._settled = -1  # the last end that was announced

    def due(self, index: int, segment: OpenSegment) -> Sequence[bool]:
        """The announcements of open segment `index` that are due now: whether each is the segment's first.

        All others ask for a hypothesis.
        """
        due = []
        if index > self._index:
            self._index, self._next, self._pause = index, segment.voiced_start + FIRST_HYPOTHESIS, -1
            due.append(True)
        if not self._growth or 0 < segment.settled == self._settled:
            return due
        silence = segment.end - segment.voiced_end
        growing = segment.end >= self._next and silence < LULL
        pausing = self._pauses and silence >= PAUSE and segment.voiced_end != self._pause
        settling = segment.settled > 0 and silence >= PAUSE
        if growing or pausing or settling:
            self._next = segment.end + max(MIN_INTERVAL, (segment.end - segment.start) // INTERVAL_SHARE)
            self._pause = segment.voiced_end if pausing or settling else self._pause
            self._settled = segment.settled if settling else self._settled
            due.append(False)
        return due


@dataclass(frozen=True, slots=True)
class Hangover:
    """How much silence ends a segment, in samples."""

    least: int
    """After a sentence."""
    usual: int
    """Without a hypothesis."""
    most: int
    """In the middle of a sentence."""


def ends_sentence(text: str) -> bool:
    """Whether a hypothesis stops where a sentence may stop."""
    for character in reversed(text):
        if character in _ENDS:
            return True
        if not (character.isspace() or character in _QUOTES or category(character) in _CLOSING):
            return False
    return False


class Endpointing:
    """Decides, at most once in each pause, that it ends the open segment."""

    def __init__(self, hangover: Hangover) -> None:
        self._hangover = hangover
        self._partial: Partial | None = None
        self._ended: tuple[int, int] | None = None  # the pause that ended a segment: its index, the start of the pause

    def on_partial(self, partial: Partial) -> None:
        """Take a hypothesis; one that is older than the known one is ignored."""
        known = self._partial
        if known is None or (partial.index, partial.end) >= (known.index, known.end):
            self._partial = partial

    def ends(self, index: int, segment: OpenSegment) -> bool:
        """Whether open segment `index` should end now; True once for each pause."""
        pause = index, segment.voiced_end
        if pause == self._ended or segment.end - segment.voiced_end < self._sufficient(index, segment):
            return False
        self._ended = pause
        return True

    def _sufficient(self, index: int, segment: OpenSegment) -> int:
        """Samples of silence that end the segment."""
        known = self._partial
        if known is None or known.index != index or known.end < segment.voiced_end:
            return self._hangover.usual
        return self._hangover.least if ends_sentence(known.text) else self._hangover.most
