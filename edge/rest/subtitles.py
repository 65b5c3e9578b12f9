"""Segments as subtitles: short cues that begin and end with the words that they show. Pure.

A cue has at most two lines and is shown for at most seven seconds, as in Netflix's Timed Text Style Guide. Lines are
broken between words. Chinese and Japanese have no spaces: there a line may be broken between characters, but not before
closing punctuation and small kana, nor after an opening bracket (JIS X 4051 has these rules in full).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import wcwidth

from contract import RATE, Transcript

COLUMNS = 42
"""Widest line. Characters of Chinese, Japanese and Korean take two columns."""

LINES = 2
LONGEST = 7 * RATE
SHORTEST = RATE
"""Samples that a cue is shown for at least, unless the next one comes sooner."""

_TOO_FAST = RATE // 5
"""Cues that follow each other faster than this come from wrong word times."""

_BREAKS = ((".!?。", 0.3), (",;:、", 0.6))
"""A full cue ends after one of these marks if that is after this share of the cue; the better ones first."""

_STOPS = frozenset(".,!?:;%、。・ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ")
_WITHOUT_SPACES = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Blocks of kana and of Han characters."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines that are shown from `start` to before `end`, samples at 16 kHz."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Atom:
    """Text that is not broken, its time, and whether a space comes before it."""

    text: str
    spaced: bool
    start: int
    end: int


def speaker_of(segment: Transcript) -> str | None:
    """Who speaks, where that is known."""
    return one_line(getattr(segment, "speaker", None) or "") or None


def cues(segments: Iterable[Transcript], *, label: bool = False) -> list[Cue]:
    """The cues of all segments, in order. `label`: where the speaker changes, the text begins with the name."""
    found: list[Cue] = []
    speaker: str | None = None
    for segment in sorted(segments, key=lambda segment: segment.index):
        atoms = _atoms(segment)
        if not atoms:
            continue
        name = speaker_of(segment)
        if label and name and name != speaker:
            atoms = [
                *_pieces(f"{name}:", False, atoms[0].start, atoms[0].start),
                replace(atoms[0], spaced=True),
                *atoms[1:],
            ]
        own = _cues_of(atoms)
        if _too_fast(own, segment.end):
            own = _cues_of(_spread(atoms, segment.start, segment.end))
        found += [replace(cue, speaker=name) for cue in own]
        speaker = name
    return list(_timed(found))


def _timed(found: Sequence[Cue]) -> Iterator[Cue]:
    """Show each cue for `SHORTEST` to `LONGEST`, but no two together.

    Where the next one begins at once, as after a segment of no length, it waits: 0.2 s, or half of the time of both.
    """
    free = 0
    for cue, following in zip(found, [*found, None][1:], strict=True):
        start = max(cue.start, free)
        end = max(cue.end, start + SHORTEST)
        if following is not None:
            least = max(RATE // 1000, min(_TOO_FAST, (following.end - start) // 2))
            end = min(end, max(following.start, start + least))
        free = min(end, start + LONGEST)
        yield replace(cue, start=start, end=free)


def _too_fast(found: Sequence[Cue], end: int) -> bool:
    return any(later - sooner < _TOO_FAST for sooner, later in pairwise([*(cue.start for cue in found), end]))


def _atoms(segment: Transcript) -> list[_Atom]:
    """The text of a segment with the times of its words. Text between two words belongs to the second one."""
    line = one_line(segment.text)
    atoms: list[_Atom] = []
    begin, at = 0, segment.start
    for word in segment.words:
        text = one_line(word.word)
        found = line.find(text, begin) if text else -1
        if found >= 0:
            start, at = max(word.start, at), max(word.end, word.start, at)
            atoms += _pieces(line[begin : found + len(text)], bool(atoms) and line[begin] == " ", start, at)
            begin = found + len(text)
    if begin < len(line):
        atoms += _pieces(line[begin:], bool(atoms) and line[begin] == " ", at, max(at, segment.end))
    return atoms


def _pieces(text: str, spaced: bool, start: int, end: int) -> list[_Atom]:
    """Cut a text where it may be broken; each piece gets its share of the time."""
    atoms = [_Atom(piece, gap, 0, 0) for piece, gap in unbreakable(text)]
    return _spread([replace(atoms[0], spaced=spaced), *atoms[1:]], start, end)


def _spread(atoms: Sequence[_Atom], start: int, end: int) -> list[_Atom]:
    """The same atoms with new times: each gets a share of the whole in proportion to its width."""
    total, done, placed = sum(width(atom.text) for atom in atoms) or 1, 0, []
    for atom in atoms:
        first, done = done, done + width(atom.text)
        times = start + (end - start) * first // total, start + (end - start) * done // total
        placed.append(_Atom(atom.text, atom.spaced, *times))
    return placed


def _cues_of(atoms: Sequence[_Atom]) -> list[Cue]:
    found = []
    begin = 0
    while begin < len(atoms):
        end = _break(atoms, begin)
        shown = atoms[begin:end]
        found.append(Cue(shown[0].start, shown[-1].end, _lines(shown)))
        begin = end
    return found


def _break(atoms: Sequence[_Atom], begin: int) -> int:
    """Where a cue that begins at `begin` ends: after a sentence, else after a clause, else where it is full."""
    full = begin + 1
    while full < len(atoms) and _fits(atoms[begin : full + 1]):
        full += 1
    if full == len(atoms):
        return full
    for marks, least in _BREAKS:
        for end in range(full, begin, -1):
            if end - begin < least * (full - begin):
                break
            if ends_with(atoms[end - 1].text, marks):
                return end
    return full


def _fits(atoms: Sequence[_Atom]) -> bool:
    """Whether atoms have room in one cue when its lines are filled one after the other."""
    lines, at = 1, 0
    for number, atom in enumerate(atoms):
        columns = width(atom.text)
        longer = at + columns + (atom.spaced and number > 0)
        lines, at = (lines, longer) if longer <= COLUMNS else (lines + 1, columns)
    return lines <= LINES and atoms[-1].end - atoms[0].start <= LONGEST


def _lines(atoms: Sequence[_Atom]) -> tuple[str, ...]:
    """One line where that is enough, else two of lengths as equal as possible."""
    whole = _text(atoms)
    if width(whole) <= COLUMNS:
        return (whole,)
    pairs = [(_text(atoms[:at]), _text(atoms[at:])) for at in range(1, len(atoms))]
    return min(pairs, key=lambda pair: (max(map(width, pair)) > COLUMNS, abs(width(pair[0]) - width(pair[1]))))


def _text(atoms: Sequence[_Atom]) -> str:
    return "".join((" " if atom.spaced and number else "") + atom.text for number, atom in enumerate(atoms))


# Text: how wide it is, and where it may be broken.


def width(text: str) -> int:
    """Columns of a text in a monospaced font; two for wide characters, none for those that combine."""
    return wcwidth.width(text, control_codes="ignore")


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).split())


def unbreakable(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text that are not broken, none wider than a line, each with whether a space comes before it."""
    for word in text.split():
        spaced = True
        for part in _parts(word):
            yield part, spaced
            spaced = False


def _parts(word: str) -> Iterator[str]:
    part = ""
    for grapheme in wcwidth.iter_graphemes(word):
        if part and (_may_break(part, grapheme) or width(part + grapheme) > COLUMNS):
            yield part
            part = ""
        part += grapheme
    yield part


def _may_break(before: str, after: str) -> bool:
    last, first = before[-1], after[0]
    if _closes(first) or unicodedata.category(last) in ("Ps", "Pi"):
        return False
    return _without_spaces(last) or _without_spaces(first) or (_closes(last) and width(last) == 2)


def _closes(character: str) -> bool:
    return unicodedata.category(character) in ("Pe", "Pf") or _plain(character) in _STOPS


def _plain(character: str) -> str:
    """A full-width form or an ellipsis as the ASCII character that it stands for."""
    return unicodedata.normalize("NFKC", character)[-1:]


def _without_spaces(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _WITHOUT_SPACES)


def ends_with(text: str, marks: str) -> bool:
    """Whether a text ends with one of some ASCII or ideographic marks, closing quotes and brackets aside."""
    while text and (text[-1] in "\"'" or unicodedata.category(text[-1]) in ("Pe", "Pf")):
        text = text[:-1]
    return _plain(text[-1:]) in marks if text else False
