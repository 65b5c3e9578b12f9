"""What a person reads at the end, and the last line for programs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.faults import Fault
from chaos.verdict import Verdict

COUNTS = ("acked_samples_lost", "segments_missing", "segments_doubled", "unfinished", "text_differs", "other")
"""All of them must be 0."""

_HEADINGS = {
    "meeting": "meeting",
    "samples": "samples",
    "segments": "segments",
    "connections": "connections",
    "acked_samples_lost": "acked lost",
    "segments_missing": "missing",
    "segments_doubled": "doubled",
    "unfinished": "unfinished",
    "text_differs": "text differs",
    "other": "other",
}


def of_faults(done: Iterable[Fault]) -> str:
    """How often each kind of fault struck each process."""
    struck = Counter((process(fault), fault.kind) for fault in done)
    kinds = sorted({kind for _, kind in struck})
    rows = [
        [name, *(str(struck[name, kind] or "") for kind in kinds), str(sum(struck[name, kind] for kind in kinds))]
        for name in sorted({name for name, _ in struck})
    ]
    return grid(["faults", *kinds, "all"], rows)


def process(fault: Fault) -> str:
    """The kind of process that a fault struck: `edge-2` is an `edge`, a poisoned subject belongs to its stream."""
    if fault.kind == "poison":
        return fault.target.split(".")[0].upper()
    name, _, number = fault.target.rpartition("-")
    return name if number.isdigit() else fault.target


def of_verdicts(verdicts: Sequence[Verdict]) -> str:
    """One row for each meeting, and below them a sentence for whatever was wrong."""
    names = list(_HEADINGS)[1:]
    rows = [[verdict.name, *(str(getattr(verdict, name) or "-") for name in names)] for verdict in verdicts]
    lines = [f"{verdict.name} (job {verdict.job}): {text}" for verdict in verdicts for text in verdict.problems]
    return "\n".join([grid(list(_HEADINGS.values()), rows), *([""] if lines else []), *lines])


def totals(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """The sums over all meetings."""
    judged = list(verdicts)
    return {name: sum(getattr(verdict, name) for verdict in judged) for name in COUNTS}


def grid(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, the first flush left and the others flush right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in lines
    )
