"""Finding words in a text, and an excerpt that shows them. Pure: no I/O in this file.

Case does not matter, nor whether letters are composed (some systems type Hangul as single jamo). A word also matches
inside a longer one, because some scripts have no spaces.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

EXCERPT = 140
"""Approximate length of an excerpt, in characters."""

_SLACK = 20
"""An excerpt may be so much shorter in order to end between words."""


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


@dataclass(frozen=True, slots=True)
class Search:
    """Words that must all occur, in folded form."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Search:
        """Read a query as a person types it: words separated by white space."""
        return cls(tuple(dict.fromkeys(_fold(text).split())))

    def matches(self, *texts: str) -> bool:
        """Whether each word occurs in at least one of the texts."""
        folded = [_fold(text) for text in texts]
        return all(any(word in text for text in folded) for word in self.words)

    def excerpt(self, text: str) -> str | None:
        """The text around the first word that occurs in it; None if none does."""
        line = _one_line(text)
        folded = line.casefold()
        hits = [at for at in map(folded.find, self.words) if at >= 0]
        return _cut(line, max(0, _unfolded(line, folded, min(hits)) - EXCERPT // 3)) if hits else None


def _unfolded(line: str, folded: str, at: int) -> int:
    """The index in a line of the character at `at` in its folded form, where some, such as ß, become longer."""
    if len(folded) == len(line):
        return at
    for index, character in enumerate(line):
        at -= len(character.casefold())
        if at < 0:
            return index
    return len(line)


def beginning(text: str) -> str:
    """The beginning of a text, on one line."""
    return _cut(_one_line(text), 0)


def _one_line(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _cut(line: str, start: int) -> str:
    """About EXCERPT characters from `start` on, with an ellipsis where text is omitted."""
    if start:
        space = line.find(" ", start, start + _SLACK)
        start = space + 1 if space >= 0 else start
    end = start + EXCERPT
    if end < len(line):
        space = line.rfind(" ", end - _SLACK, end + 1)
        end = space if space > start else end
    return ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")
