"""What a session costs as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot(costs: Mapping[str, Mapping[str, float]], groups: Sequence[str], title: str, path: Path) -> None:
    """Write processor time for a session, in ms, by contender and process, as PNG; a process that is not there is 0."""
    figure = Figure(figsize=(7, 4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = [name.replace(", ", ",\n").replace(": ", ":\n") for name in costs]
    below = [0.0] * len(names)
    for group in groups:
        heights = [cost.get(group, 0.0) for cost in costs.values()]
        axes.bar(names, heights, bottom=below, label=group, width=0.6)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.set_ylabel("processor time for a session, ms")
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
