"""How wide a text is, and where a line of it may be broken. Pure.

Text is broken between words. Chinese and Japanese have no spaces: there it is broken between characters, but not before
closing punctuation and small kana, nor behind an opening bracket (JIS X 4051 has the long version of these rules).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

COLUMNS = 42
"""Of one line."""

_STOPS = frozenset(".,!?:;%、。・ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ")
_WITHOUT_SPACES = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Blocks of kana and of Han characters."""


def width(text: str) -> int:
    """Columns that a text takes: two for wide characters, none for those that combine with the one before."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).split())


def breakable(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text that stay together, none wider than a line, and whether a space comes before each."""
    for word in text.split():
        spaced = True
        for run in _runs(word):
            yield run, spaced
            spaced = False


def _runs(word: str) -> Iterator[str]:
    run = ""
    for character in word:
        if run and (_may_break(run[-1], character) or width(run) + _width(character) > COLUMNS):
            yield run
            run = ""
        run += character
    yield run


def _may_break(before: str, after: str) -> bool:
    if _width(after) == 0 or _closes(after) or unicodedata.category(before) in ("Ps", "Pi"):
        return False
    return _without_spaces(before) or _without_spaces(after) or (_closes(before) and _width(before) == 2)


def _closes(character: str) -> bool:
    return unicodedata.category(character) in ("Pe", "Pf") or _plain(character) in _STOPS


def _plain(character: str) -> str:
    """A full-width form or an ellipsis as the ASCII character that it is made of."""
    return unicodedata.normalize("NFKC", character)[-1:]


def _without_spaces(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _WITHOUT_SPACES)


def ends(text: str, marks: str) -> bool:
    """Whether a text ends with one of some ASCII or ideographic marks; quotes and brackets may close behind it."""
    while text and (text[-1] in "\"'" or unicodedata.category(text[-1]) in ("Pe", "Pf")):
        text = text[:-1]
    return _plain(text[-1:]) in marks if text else False
