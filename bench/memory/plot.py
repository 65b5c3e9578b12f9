"""What a connection costs in memory, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.memory.figures import TITLES, Contender, Held

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
