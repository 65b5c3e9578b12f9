"""What a frame costs as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.edge.figures import CONTENDERS, TITLES, Trial, ack_ms, middle, of, streams_per_core

_COLOURS = {"edge": "tab:blue", "nats-server": "tab:orange", "segmenter": "tab:green"}


def plot(trials: Sequence[Trial], title: str, path: Path) -> None:
    """Write processor time for a frame, by process, and ack latency as PNG; dots are the rounds."""
    figure = Figure(figsize=(11, 4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    cost, latency = figure.subplots(1, 2, width_ratios=(4, 3))
    names = [TITLES[contender].replace(", ", ",\n").replace(": ", ":\n") for contender in CONTENDERS]
    below = [0.0] * len(CONTENDERS)
    for process, colour in _COLOURS.items():
        heights = [_cost(trials, process, number) for number in range(len(CONTENDERS))]
        cost.bar(names, heights, bottom=below, color=colour, label=process, width=0.6)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    for number, contender in enumerate(CONTENDERS):
        edges = [trial.edge for trial in of(trials, contender)]
        cost.plot([number] * len(edges), edges, "o", color="black", markersize=3)
        held = f"{streams_per_core(trials, contender):.0f} streams\nan edge core"
        cost.annotate(held, (number, below[number]), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    cost.set_ylim(0, 1.25 * max(below))
    cost.set_ylabel("processor time for a frame of 30 ms, us")
    cost.legend(fontsize=8)
    for q, look in ((50, "o"), (99, "^")):
        latency.plot(names, [ack_ms(trials, contender, q) for contender in CONTENDERS], look, label=f"p{q}")
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    latency.margins(x=0.2, y=0.1)
    latency.set_ylabel("client's socket to ack of a frame, ms")
    latency.legend(fontsize=8)
    for axes in (cost, latency):
        axes.grid(visible=True, axis="y", alpha=0.3)
        axes.tick_params(axis="x", labelsize=8)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _cost(trials: Sequence[Trial], process: str, number: int) -> float:
    contender = CONTENDERS[number]
    if process == "edge":
        return middle(trials, contender, lambda trial: trial.edge)
    if process == "nats-server":
        return middle(trials, contender, lambda trial: trial.nats)
    return middle(trials, contender, lambda trial: trial.vad)
