"""Removes repetition loops of the decoder, and keeps what people really repeat. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from processors.stt.core import MAX_COMPRESSION_RATIO, DecodedSegment, DecodedWord, compression_ratio

REPEATS = 4
"""From so many repeats in a row a phrase can be a loop; people do say things three times for effect."""

LONGEST_PHRASE = 12
"""Words in the longest phrase that is looked for."""

LONGEST_PHRASE_IN_CHARACTERS = 40
"""The same for scripts without spaces; about the same duration."""

FASTEST = 12.0
"""Syllables a second that nobody can say: fast speech has 7 or 8."""

LETTERS_PER_SYLLABLE = 3
LONGEST_WORD = 30
"""Letters. Anything longer is not a word and is compared character by character."""

SLACK = 0.4
"""Seconds by which word times may be wrong."""

ALIGNER_STEP = 0.02
"""Seconds. If words are shorter on average, alignment failed and their times mean nothing."""

_NO_SPACES = re.compile(r"[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Tibetan, Burmese, Khmer, kana, Han."""

_SYLLABLE_EACH = re.compile(r"[0-9\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
"""Digits, kana, Han, Hangul: each character is a syllable."""


def remove_loops(segments: Sequence[DecodedSegment], seconds: float) -> tuple[DecodedSegment, ...]:
    """Reduce each repetition loop to its first repeat. seconds: length of the utterance.

    A loop is a word or a phrase, at least REPEATS times in a row, that is repeated faster than anybody can speak, or so
    often that it exceeds MAX_COMPRESSION_RATIO (ten times "no", five times "thank you"). "No, no, no" and "one, one,
    one, one" stay. An incomplete last repeat at the end of the text is removed too. Words, text and token count of a
    segment stay consistent.
    """
    before: tuple[DecodedSegment, ...] = ()
    after = tuple(segments)
    while after != before:  # removing an inner loop can reveal an outer one
        before, after = after, _without_loops(after, seconds)
    return after


@dataclass(frozen=True)
class _Unit:
    """A word, or a character in scripts without spaces, with the punctuation behind it; `key`: what is compared."""

    segment: int
    word: int
    text: str
    key: str
    start: float
    end: float


@dataclass(frozen=True)
class _Run:
    """Units `start` to `end`, exclusive, repeat the first `period` of them."""

    start: int
    period: int
    end: int


def _without_loops(segments: tuple[DecodedSegment, ...], seconds: float) -> tuple[DecodedSegment, ...]:
    units = _units(segments)
    dropped = {at for loop in _loops(units, seconds) for at in range(loop.start + loop.period, loop.end)}
    touched = {units[at].segment for at in dropped}
    left = []
    for index, segment in enumerate(segments):
        if index not in touched:
            left.append(segment)
        elif kept := [unit for at, unit in enumerate(units) if unit.segment == index and at not in dropped]:
            left.append(_rebuilt(segment, kept))
    return tuple(left)


def _loops(units: Sequence[_Unit], seconds: float) -> Iterator[_Run]:
    """The loops, in order and without overlap."""
    keys = [unit.key for unit in units]
    at = 0
    while at < len(keys):
        loop = next((run for run in _runs(keys, at) if _is_loop(run, units, seconds)), None)
        if loop:
            yield loop
        at = loop.end if loop else at + 1


def _is_loop(run: _Run, units: Sequence[_Unit], seconds: float) -> bool:
    text = "".join(unit.text for unit in units[run.start : run.end]).strip()
    return compression_ratio(text) > MAX_COMPRESSION_RATIO or _is_too_fast(run, units, seconds)


def _is_too_fast(run: _Run, units: Sequence[_Unit], seconds: float) -> bool:
    """Whether nobody can speak so fast. Uses the time between the words around the run, which is the most reliable."""
    timed = units[-1].end - units[0].start >= ALIGNER_STEP * len(units)
    before = units[run.start - 1].end if timed and run.start else 0.0
    after = units[run.end].start if timed and run.end < len(units) else seconds
    if timed:
        after = max(after, units[run.end - 1].end)
        before = min(before, units[run.start].start)
    said = units[run.start : run.end] if timed else units
    return sum(_syllables(unit.key) for unit in said) > FASTEST * (after - before + SLACK)


def _syllables(key: str) -> float:
    """An estimate."""
    each = len(_SYLLABLE_EACH.findall(key))
    return max(1.0, each + (len(key) - each) / LETTERS_PER_SYLLABLE)


def _units(segments: Sequence[DecodedSegment]) -> list[_Unit]:
    units: list[_Unit] = []
    for index, segment in enumerate(segments):
        ahead = ""  # punctuation before the first word of a segment
        for number, word in enumerate(_words(segment)):
            pieces = _pieces(word.text)
            step = (word.end - word.start) / len(pieces) if pieces else 0.0
            for at, piece in enumerate(pieces):
                key = _key(piece)
                if key:
                    start = word.start + at * step
                    units.append(_Unit(index, number, ahead + piece, key, start, start + step))
                    ahead = ""
                elif units and units[-1].segment == index:
                    units[-1] = replace(units[-1], text=units[-1].text + piece)
                else:
                    ahead += piece
    return units


def _words(segment: DecodedSegment) -> Iterable[DecodedWord]:
    """Its words; if it has none, the words of its text, without times."""
    return segment.words or (DecodedWord(text, 0.0, 0.0, 0.0) for text in re.findall(r"\s*\S+", segment.text))


def _pieces(text: str) -> list[str]:
    """The parts to compare: its characters and whole numbers in scripts without spaces, otherwise the text itself."""
    return re.findall(r"\d+|.", text) if _NO_SPACES.search(text) or len(text) > LONGEST_WORD else [text]


def _key(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if unicodedata.category(char)[0] in "LMN")


def _runs(keys: Sequence[str], start: int) -> Iterator[_Run]:
    """Runs that begin at `start` with at least REPEATS repeats, the shortest phrase first."""
    for period in range(1, min(LONGEST_PHRASE_IN_CHARACTERS, (len(keys) - start) // REPEATS) + 1):
        if period > LONGEST_PHRASE and any(len(key) > 1 for key in keys[start : start + period]):
            return
        end = start + period
        while end < len(keys) and keys[end] == keys[end - period]:
            end += 1
        whole = (end - start) // period
        if whole >= REPEATS:
            last = end == len(keys) - 1 and keys[end - period].startswith(keys[end])
            is_cut_short = end == len(keys) or last
            yield _Run(start, period, end + last if is_cut_short else start + whole * period)


def _rebuilt(segment: DecodedSegment, kept: Sequence[_Unit]) -> DecodedSegment:
    """The segment reduced to these units, of which there is at least one."""
    text = "".join(unit.text for unit in kept)
    words = []
    for number, word in enumerate(segment.words):
        mine = [unit for unit in kept if unit.word == number]
        spoken = "".join(unit.text for unit in mine)
        if spoken == word.text:
            words.append(word)
        elif mine:
            words.append(replace(word, text=spoken, start=mine[0].start, end=mine[-1].end))
    return replace(
        segment,
        text=text,
        tokens=max(1, round(segment.tokens * min(1.0, len(text) / len(segment.text)))),
        compression_ratio=compression_ratio(text.strip()),
        words=tuple(words),
    )
