"""Finding words in a text, and an excerpt that shows them. Pure: no I/O in this file.

What people may type in one way and say in another does not matter: case, accents, full or half width, whether letters
are composed (some systems type Hangul as single jamo), the kind of quotation mark or hyphen, and invisible characters.
Marks that make another letter, such as the voicing of kana and the vowels of Indic scripts and Thai, do matter. A word
also matches inside a longer one, because some scripts have no spaces. Texts are stored as they are and folded when they
are searched, so no index has to be made again. The page marks hits by the same rules: `edge/web/core/format.js`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

EXCERPT = 140
"""Approximate length of an excerpt, in characters."""

_SLACK = 20
"""An excerpt may be so much shorter in order to end between words."""

_ACCENTS = ((0x0300, 0x036F), (0x0591, 0x05C7), (0x064B, 0x065F), (0x0670, 0x0670))
"""Marks on Latin, Greek and Cyrillic letters, and the points of Hebrew and Arabic, which most people do not write."""

_TYPED = str.maketrans(
    dict(zip("ıłøđħŧ\u2018\u2019\u201c\u201d\u2010\u2011\u2013\u2014", "ilodht''\"\"----", strict=True))
    | {"æ": "ae", "œ": "oe"}
)
"""Letters, quotation marks and hyphens that Unicode does not decompose, as people type them."""


class _Folding(dict[int, str]):
    """What each character is folded to, found when it is first met."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", chr(code)).casefold())
        kept = "".join(character for character in plain if not _is_ignored(character)).translate(_TYPED)
        if not chr(code).isspace():
            kept = kept.replace(" ", "")  # a spacing accent, which decomposes into a space and a mark
        # Composed again: else a syllable of Hangul would match inside another one, and a kana inside its voiced form.
        self[code] = unicodedata.normalize("NFC", kept)
        return self[code]


def _is_ignored(character: str) -> bool:
    category = unicodedata.category(character)
    accent = category == "Mn" and any(first <= ord(character) <= last for first, last in _ACCENTS)
    return accent or category == "Cf"


_FOLDING = _Folding()


def _fold(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.translate(_FOLDING))


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
        folded = _fold(line)
        hits = [at for at in map(folded.find, self.words) if at >= 0]
        return _cut(line, max(0, _unfolded(line, folded, min(hits)) - EXCERPT // 3)) if hits else None


def _unfolded(line: str, folded: str, at: int) -> int:
    """The index in a line of the character at `at` in its folded form, where some, such as ß, become longer."""
    if len(folded) == len(line):
        return at
    rest = line.split(" ", folded.count(" ", 0, at))[-1]
    begin, ahead = len(line) - len(rest), at - folded.rfind(" ", 0, at) - 1
    for index, character in enumerate(rest, begin):
        ahead -= len(_FOLDING[ord(character)])
        if ahead < 0 or character == " ":
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
