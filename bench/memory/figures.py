"""What a connection costs in memory: figures, a table and a picture. Pure but for `plot`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Contender = Literal["naive", "inprocess", "ours"]

TITLES: dict[Contender, str] = {
    "naive": "naive: await publish",
    "inprocess": "inprocess: no bus",
    "ours": "ours",
}
"""All contenders, and how a person reads them."""


@dataclass(frozen=True)
class Held:
    """Kilobytes of one connection. closed: how many connections a full stream ended."""

    idle: float
    stalled: float | None
    """None: no stream can be full, or connections do not live to see it."""
    closed: int = 0

    @property
    def excuse(self) -> str:
        """Why there is no figure for a full stream; empty where there is one."""
        if self.stalled is not None:
            return ""
        return f"a full stream ended {self.closed} connections" if self.closed else "there is no stream to be full"


def table(held: Mapping[Contender, Held]) -> str:
    """Lay the figures out for a person."""
    lines = [f"{'kB for each connection':24}{'idle':>9}{'stalled':>9}"]
    for contender, found in held.items():
        stalled = "-" if found.stalled is None else f"{found.stalled:.1f}"
        row = f"{TITLES[contender]:24}{found.idle:9.1f}{stalled:>9}"
        lines.append("  ".join(filter(None, [row, found.excuse])))
    return "\n".join(lines)


def summary(held: Mapping[Contender, Held]) -> dict[str, Any]:
    """The figures as one flat object: ours without a suffix."""
    found: dict[str, Any] = {}
    for contender, one in held.items():
        suffix = "" if contender == "ours" else f"_{contender}"
        found |= {
            f"idle_kb{suffix}": round(one.idle, 1),
            f"stalled_kb{suffix}": None if one.stalled is None else round(one.stalled, 1),
        }
    return found


_WIDTH = 0.38


def plot(held: Mapping[Contender, Held], title: str, path: Path) -> None:
    """Write a PNG with two bars for each contender."""
    figure = Figure(figsize=(8, 4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, found in enumerate(held.values()):
        for side, kilobytes, colour in ((-1, found.idle, "tab:blue"), (1, found.stalled, "tab:orange")):
            at = place + side * _WIDTH / 2
            said = fill(found.excuse, 14) if kilobytes is None else f"{kilobytes:.0f}"
            axes.bar(at, kilobytes or 0.0, _WIDTH, color=colour)
            top = max(kilobytes or 0.0, 0.0)
            axes.annotate(said, (at, top), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    for label, colour in (("idle", "tab:blue"), ("audio that the bus does not take", "tab:orange")):
        axes.bar(0, 0, color=colour, label=label)
    names = [TITLES[contender].replace(": ", ":\n").replace(", ", ",\n") for contender in held]
    axes.set_xticks(range(len(held)), names)
    axes.margins(y=0.15)
    axes.set_ylabel("memory of a connection, kB")
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
