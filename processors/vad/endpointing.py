"""When a pause is the end of what was said, judged by what was understood of it so far. Pure.

A hypothesis counts only if it is of all that was voiced: what it ends with is then what was said last.
"""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import category

from contract import Partial
from processors.vad.core import OpenSegment

_ENDS = frozenset(".!?。！？…")  # noqa: RUF001 - these are meant
_QUOTES = frozenset("\"'")
_CLOSING = ("Pe", "Pf", "Pi")
"""Unicode categories of closing brackets and of quotes, of which many languages close with what others open with."""


@dataclass(frozen=True, slots=True)
class Hangover:
    """How much silence ends a segment, in samples: behind a sentence, where nothing is known, and in a sentence."""

    least: int
    usual: int
    most: int


def ends_sentence(text: str) -> bool:
    """Whether a hypothesis stops where a sentence may stop."""
    for character in reversed(text):
        if character in _ENDS:
            return True
        if not (character.isspace() or character in _QUOTES or category(character) in _CLOSING):
            return False
    return False


class Endpointing:
    """Decides, at most once in each pause, that what is open should end."""

    def __init__(self, hangover: Hangover) -> None:
        self._hangover = hangover
        self._partial: Partial | None = None
        self._decided: tuple[int, int] | None = None  # the pause that has been ended: its utterance, where it begins

    def understood(self, partial: Partial) -> None:
        """Take a hypothesis; an older one than that already known says nothing."""
        known = self._partial
        if known is None or (partial.index, partial.end) >= (known.index, known.end):
            self._partial = partial

    def ends(self, index: int, speech: OpenSegment) -> bool:
        """Whether utterance `index`, which is open, should end now; says so once for each pause."""
        pause = index, speech.voiced_end
        if pause == self._decided or speech.end - speech.voiced_end < self._enough(index, speech):
            return False
        self._decided = pause
        return True

    def _enough(self, index: int, speech: OpenSegment) -> int:
        """Samples of silence that suffice."""
        known = self._partial
        if known is None or known.index != index or known.end < speech.voiced_end:
            return self._hangover.usual
        return self._hangover.least if ends_sentence(known.text) else self._hangover.most
