"""Latency against live streams as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.stt.contenders import TITLES, Kind
from bench.stt.live import Compared

_LOOKS: dict[Kind, tuple[str, str]] = {
    "ours": ("tab:blue", "o"),
    "one_at_a_time": ("tab:orange", "s"),
    "batched_pipeline": ("tab:green", "D"),
}
"""Colour and marker."""


def plot(compared: Compared, bound: float, title: str, path: Path) -> None:
    """Write p95 latency over the streams as PNG; an arrow up where the run was ended before all had their text."""
    figure = Figure(figsize=(8, 5), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for kind, trials in compared.trials.items():
        colour, marker = _LOOKS[kind]
        points = [(streams, trials[streams].latency(95)) for streams in sorted(trials)]
        label = f"{TITLES[kind]}: {compared.held[kind]} held"
        axes.plot([n for n, _ in points], [p95.seconds for _, p95 in points], color=colour, label=label)
        for exact, look in ((True, marker), (False, "^")):
            some = [(n, p95.seconds) for n, p95 in points if p95.exact is exact]
            face = colour if exact else "white"
            axes.plot([n for n, _ in some], [s for _, s in some], look, color=colour, markerfacecolor=face)
    axes.plot([], [], "^", color="grey", markerfacecolor="white", label="at least (not all had their text)")
    axes.axhline(bound, color="grey", linestyle="--", linewidth=1)
    axes.annotate(
        f"{bound:g} s", (1, bound), (-4, 4), ("axes fraction", "data"), "offset points", color="grey", ha="right"
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("live streams")
    axes.set_ylabel("p95 latency of an utterance, s")
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="best", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
