"""Keywords and how they are found in a text. Pure.

Texts are compared by Unicode compatibility and without regard to case (NFKC, then case folding). A keyword matches a
whole word; in scripts without spaces it matches anywhere, and in Korean, where particles follow a word without a space,
at the beginning of a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MOST_KEYWORDS, LONGEST_KEYWORD = 100, 100

# Thai, Lao, Myanmar, Khmer, kana, CJK ideographs with their extensions.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_HANGUL = "\u1100-\u11ff\uac00-\ud7a3"
_LETTER = rf"[^\W{_SPACELESS}{_HANGUL}]"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+(?:['’.,-][^\W{_SPACELESS}]+)*")  # noqa: RUF001 - an apostrophe


@dataclass(frozen=True)
class Keyword:
    """A word or phrase as it was requested, and the pattern that finds it."""

    text: str
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> Keyword:
        """The keyword for any text; white space in it matches any white space."""
        words = _folded(text).split()
        body = r"\s+".join(re.escape(word) for word in words)
        return cls(text, re.compile(_before(words[0][0]) + body + _after(words[-1][-1])))

    def count(self, text: str) -> int:
        """How often the keyword occurs in a text."""
        return sum(1 for _ in self.pattern.finditer(_folded(text)))


def _before(first: str) -> str:
    if re.match(rf"[{_SPACELESS}]", first):
        return ""
    return r"(?<!\w)" if re.match(rf"[{_HANGUL}]", first) else rf"(?<!{_LETTER})"


def _after(last: str) -> str:
    return "" if re.match(rf"[{_SPACELESS}{_HANGUL}]", last) else rf"(?!{_LETTER})"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def count_words(text: str) -> int:
    """Number of words in a text; each character of a script without spaces counts as one."""
    return len(_WORD.findall(text))


def parse(text: str) -> list[str]:
    """Keywords that are separated by commas; raises ValueError that says what is accepted."""
    found = unique(text.split(","))
    if len(found) > MOST_KEYWORDS:
        raise ValueError(f"{len(found)} keywords; at most {MOST_KEYWORDS} are accepted")
    for keyword in found:
        if len(keyword) > LONGEST_KEYWORD:
            raise ValueError(
                f"{keyword[:20]!r}... has {len(keyword)} characters; at most {LONGEST_KEYWORD} are accepted"
            )
    return found


def from_metadata(metadata: dict[str, Any]) -> list[str]:
    """Keywords of a job: `keywords` of its metadata, a list or a text as for `parse`; raises ValueError likewise."""
    match metadata.get("keywords"):
        case None:
            return []
        case str() as text:
            return parse(text)
        case list() as items if all(isinstance(item, str) and "," not in item for item in items):
            return parse(",".join(items))
    raise ValueError("a list of texts without commas, or one text with commas between the keywords, is accepted")


def unique(keywords: Iterable[str]) -> list[str]:
    """Keywords without blank ones and without repetitions, of which the first stays; white space is normalized."""
    kept: dict[str, str] = {}
    for keyword in keywords:
        if folded := " ".join(_folded(keyword).split()):
            kept.setdefault(folded, " ".join(keyword.split()))
    return list(kept.values())
