"""Finding words in what was said, and showing where. Pure: no I/O in this file.

Upper and lower case are the same, and so are the composed and decomposed forms of a letter (some systems type Hangul as
single jamo). A word may be part of a longer one, as scripts without spaces need.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

EXCERPT = 140
"""Characters of an excerpt, about."""

_SLACK = 20
"""Characters by which an excerpt is shortened rather than cut a word."""


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


@dataclass(frozen=True, slots=True)
class Search:
    """Words that must all occur, folded."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Search:
        """Read what a person typed: words with white space between them."""
        return cls(tuple(dict.fromkeys(_fold(text).split())))

    def matches(self, *texts: str) -> bool:
        """Whether each word occurs in one text or another."""
        folded = [_fold(text) for text in texts]
        return all(any(word in text for text in folded) for word in self.words)

    def excerpt(self, text: str) -> str | None:
        """The text around the first word that occurs in it; None where none does."""
        line = _one_line(text)
        folded = line.casefold()
        hits = [at for at in map(folded.find, self.words) if at >= 0]
        return _cut(line, max(0, _unfolded(line, folded, min(hits)) - EXCERPT // 3)) if hits else None


def _unfolded(line: str, folded: str, at: int) -> int:
    """Which character of a line stands at a place of the folded one; some, like ß, are more than one there."""
    if len(folded) == len(line):
        return at
    for index, character in enumerate(line):
        at -= len(character.casefold())
        if at < 0:
            return index
    return len(line)


def beginning(text: str) -> str:
    """How a text begins, on one line."""
    return _cut(_one_line(text), 0)


def _one_line(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _cut(line: str, start: int) -> str:
    """About EXCERPT characters from `start` on, with an ellipsis where there is more."""
    if start:
        space = line.find(" ", start, start + _SLACK)
        start = space + 1 if space >= 0 else start
    end = start + EXCERPT
    if end < len(line):
        space = line.rfind(" ", end - _SLACK, end + 1)
        end = space if space > start else end
    return ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")
