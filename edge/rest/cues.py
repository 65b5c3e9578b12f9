"""Segments as subtitles: short cues that begin and end with the words that they show. Pure.

A cue has at most two lines and is shown for at most seven seconds, as in Netflix's Timed Text Style Guide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from contract import RATE, Transcript
from edge.rest.breaking import COLUMNS, breakable, ends, one_line, width

LINES = 2
LONGEST = 7 * RATE
SHORTEST = RATE
"""A cue is shown for a second at least, unless the next one comes sooner."""

_HURRIED = RATE // 5
"""Cues that follow each other faster than this come from times of words that cannot be right."""

_BREAKS = ((".!?。", 0.3), (",;:、", 0.6))
"""A full cue ends behind one of these marks, where one is behind so much of it; the better ones first."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines that are shown from `start` to before `end`, samples at 16 kHz."""

    start: int
    end: int
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Atom:
    """Text that is not broken, and whether a space comes before it."""

    text: str
    spaced: bool
    start: int
    end: int


def speaker_of(segment: Transcript) -> str | None:
    """Who speaks, where that is known."""
    return one_line(getattr(segment, "speaker", None) or "") or None


def cues(segments: Iterable[Transcript], *, label: bool = False) -> list[Cue]:
    """The cues of all segments, in order. `label`: what somebody else begins to say has the name before it."""
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
        made = _cues_of(atoms)
        if _hurried(made, segment.end):
            made = _cues_of(_evenly(atoms, segment.start, segment.end))
        found += [replace(cue, speaker=name) for cue in made]
        speaker = name
    next_starts = [*(cue.start for cue in found), None][1:]
    return [_shown(cue, next_start) for cue, next_start in zip(found, next_starts, strict=True)]


def _shown(cue: Cue, next_start: int | None) -> Cue:
    """For long enough to be read, not longer than `LONGEST`, and not beside the next one; never for no time at all."""
    end = max(cue.end, cue.start + SHORTEST)
    if next_start is not None:
        end = min(end, max(next_start, cue.start + RATE // 1000))
    return replace(cue, end=min(end, cue.start + LONGEST))


def _hurried(made: Sequence[Cue], end: int) -> bool:
    return any(later - sooner < _HURRIED for sooner, later in pairwise([*(cue.start for cue in made), end]))


def _atoms(segment: Transcript) -> list[_Atom]:
    """The text of a segment with the times of its words. What no word accounts for goes with the word behind it."""
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
    """Cut a text where it may be broken; each piece has its share of the time."""
    atoms = [_Atom(piece, gap, 0, 0) for piece, gap in breakable(text)]
    return _evenly([replace(atoms[0], spaced=spaced), *atoms[1:]], start, end)


def _evenly(atoms: Sequence[_Atom], start: int, end: int) -> list[_Atom]:
    """The same atoms, each with a share of the time for its width."""
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
    """Where a cue that begins at `begin` ends: with a sentence, else with a clause, else where it is full."""
    full = begin + 1
    while full < len(atoms) and _fits(atoms[begin : full + 1]):
        full += 1
    if full == len(atoms):
        return full
    for marks, least in _BREAKS:
        for end in range(full, begin, -1):
            if end - begin < least * (full - begin):
                break
            if ends(atoms[end - 1].text, marks):
                return end
    return full


def _fits(atoms: Sequence[_Atom]) -> bool:
    """Whether atoms have room in one cue, with lines that are as full as can be."""
    lines, at = 1, 0
    for number, atom in enumerate(atoms):
        columns = width(atom.text)
        longer = at + columns + (atom.spaced and number > 0)
        lines, at = (lines, longer) if longer <= COLUMNS else (lines + 1, columns)
    return lines <= LINES and atoms[-1].end - atoms[0].start <= LONGEST


def _lines(atoms: Sequence[_Atom]) -> tuple[str, ...]:
    """One line where that is enough, else two that are as equal as can be."""
    whole = _text(atoms)
    if width(whole) <= COLUMNS:
        return (whole,)
    pairs = [(_text(atoms[:at]), _text(atoms[at:])) for at in range(1, len(atoms))]
    return min(pairs, key=lambda pair: (max(map(width, pair)) > COLUMNS, abs(width(pair[0]) - width(pair[1]))))


def _text(atoms: Sequence[_Atom]) -> str:
    return "".join((" " if atom.spaced and number else "") + atom.text for number, atom in enumerate(atoms))
