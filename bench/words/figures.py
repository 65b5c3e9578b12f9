"""Word and character errors: normalized as OpenAI's evaluation of Whisper does it, counted, and as a table. Pure.

The normalizers are those of Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C:
for English they also settle numbers, titles, contractions and spellings, and drop "uh" and "um".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jiwer
from num2words import num2words
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

WITHOUT_SPACES = {"ja", "zh", "th", "my", "km", "lo"}
"""Languages that are written without spaces between words: of these only character errors are counted."""

OTHER = "other languages"
"""The group of what is not English; it does not count in the totals."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Substitutions, deletions and insertions, and how many words or characters were said."""

    wrong: int = 0
    said: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.wrong + other.wrong, self.said + other.said)

    @property
    def percent(self) -> float:
        """The error rate; 0 where nothing was said and nothing is written."""
        return 100 * self.wrong / max(1, self.said)


@dataclass(frozen=True, slots=True)
class Counted:
    """Errors of one text."""

    words: Errors = Errors()
    characters: Errors = Errors()

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.words + other.words, self.characters + other.characters)


@cache
def _normalizer(english: bool) -> Any:
    return EnglishTextNormalizer() if english else BasicTextNormalizer()


def normalized(text: str, language: str) -> str:
    """The text as it is compared."""
    if language != "en":
        text = re.sub(r"\d+", lambda found: num2words(int(found[0]), lang=language), text)
    plain = " ".join(_normalizer(language == "en")(text).split())
    return plain.replace(" ", "") if language in WITHOUT_SPACES else plain


def count(said: str, written: str, language: str) -> Counted:
    """Errors of a text, compared with what was said."""
    reference, hypothesis = normalized(said, language), normalized(written, language)
    characters = jiwer.process_characters(reference, hypothesis)
    if language in WITHOUT_SPACES:
        return Counted(characters=_errors(characters, len(reference)))
    words = jiwer.process_words(reference, hypothesis)
    return Counted(_errors(words, len(reference.split())), _errors(characters, len(reference)))


def _errors(found: jiwer.WordOutput | jiwer.CharacterOutput, said: int) -> Errors:
    return Errors(found.substitutions + found.deletions + found.insertions, said)


@dataclass(frozen=True)
class Result:
    """What all contenders wrote for one material."""

    name: str
    group: str
    language: str
    said: str
    written: Mapping[str, str]
    """By contender."""

    def counted(self, contender: str) -> Counted:
        """Its errors."""
        return count(self.said, self.written[contender], self.language)


def total(results: Iterable[Result], contender: str) -> Counted:
    """Errors of all together."""
    return sum((result.counted(contender) for result in results), Counted())


def table(results: Sequence[Result], contenders: Mapping[str, str]) -> str:
    """Word and character error rates in percent of each material and group, and the gap to `offline` in points.

    contenders: titles by name; `live` and `offline` among them.
    """
    head = (
        f"{'WER % / CER %':34}{'words':>7}" + "".join(f"{title:>15}" for title in contenders.values()) + f"{'gap':>8}"
    )
    lines = [head]
    for group in dict.fromkeys(result.group for result in results):
        members = [result for result in results if result.group == group]
        lines += [row(member.name, [member], contenders) for member in members]
        if len(members) > 1:
            lines.append(row(f"= {group}", members, contenders))
    english = [result for result in results if result.group != OTHER]
    return "\n".join([*lines, row("= all English", english, contenders)]) if english else "\n".join(lines)


def row(name: str, results: Sequence[Result], contenders: Mapping[str, str]) -> str:
    """Rates and gap of some results together."""
    counted = {contender: total(results, contender) for contender in contenders}
    said = counted["offline"].words.said
    cells = "".join(f"{_rates(found):>15}" for found in counted.values())
    gap = f"{gap_points(results, 'live'):+8.2f}" if said else f"{'':8}"
    return f"{name[:33]:34}{said:7}{cells}{gap}"


def _rates(found: Counted) -> str:
    words = f"{found.words.percent:.1f}" if found.words.said else "-"
    return f"{words} / {found.characters.percent:.1f}"


def gap_points(results: Sequence[Result], contender: str) -> float:
    """By how many points the word error rate is above that of `offline`."""
    return total(results, contender).words.percent - total(results, "offline").words.percent


def summary(results: Sequence[Result], contenders: Iterable[str]) -> dict[str, float]:
    """Word error rates in percent and gaps in points: of all English material together, and by group."""
    english = [result for result in results if result.group != OTHER]
    found: dict[str, float] = {}
    if english:
        found |= {f"wer_{name}": round(total(english, name).words.percent, 2) for name in contenders}
        found["gap_points"] = round(gap_points(english, "live"), 2)
        found["gap_points_corrected"] = round(gap_points(english, "corrected"), 2)
        found["gap_points_fast"] = round(gap_points(english, "fast"), 2)
    for group in dict.fromkeys(result.group for result in results):
        members = [result for result in results if result.group == group]
        found[f"gap_{group.replace(' ', '_')}"] = round(gap_points(members, "live"), 2)
    return found
