"""How long finals took, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.latency.figures import Measured, Spread
from bench.timeline import FIGURES

_PARTS = {
    "edge_in": ("edge in", "tab:blue"),
    "vad": ("segmenter", "tab:green"),
    "stt": ("speech worker", "tab:purple"),
    "inference": ("inference", "lightgrey"),
    "edge_out": ("edge out", "tab:cyan"),
}
"""What a final's way is the sum of, in order."""

_CONTENDERS = ("Stenobus", "in process", "inference alone")


def plot(measured: Measured, figures: dict[str, Spread], title: str, path: Path) -> None:
    """Write a PNG: what the decision -> final is made of, and how the end of speech -> final is spread."""
    figure = Figure(figsize=(9, 4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    parts, spread = figure.subplots(1, 2)
    _parts(parts, figures)
    _spread(spread, measured)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _parts(axes: Axes, figures: dict[str, Spread]) -> None:
    below = 0.0
    for name, (label, colour) in _PARTS.items():
        ms = max(0.0, figures[name]["p50"])  # two clocks are compared: a stage that takes nothing may seem to take less
        axes.bar(_CONTENDERS[0], ms, bottom=below, color=colour, label=label, width=0.6)
        below += ms
    totals = {
        _CONTENDERS[0]: max(below, figures["decision_to_final"]["p50"]),
        _CONTENDERS[1]: figures["inprocess_decision_to_final"]["p50"],
        _CONTENDERS[2]: figures["inference_alone"]["p50"],
    }
    axes.bar(_CONTENDERS[1], totals[_CONTENDERS[1]], color="tab:orange", width=0.6)
    axes.bar(_CONTENDERS[2], totals[_CONTENDERS[2]], color="lightgrey", width=0.6)
    medians = (figures[name]["p50"] for name in ("decision_to_final", "inprocess_decision_to_final", "inference_alone"))
    for name, ms in zip(_CONTENDERS, medians, strict=True):
        axes.annotate(f"{ms:.0f} ms", (name, totals[name]), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.margins(y=0.15)
    axes.set_ylabel("decision to final, medians, ms")
    axes.legend(fontsize=8)
    axes.grid(visible=True, axis="y", alpha=0.3)


def _spread(axes: Axes, measured: Measured) -> None:
    whole = FIGURES["speech_end_to_final"]
    for label, colour, seconds in (
        (_CONTENDERS[0], "tab:blue", [whole(way) for way in measured.ways]),
        (_CONTENDERS[1], "tab:orange", [final.told - final.spoken for final in measured.inprocess]),
    ):
        axes.ecdf(1_000 * np.array(seconds), label=label, color=colour)
    axes.set_xlabel("end of speech to final, hangover and all, ms")
    axes.set_ylabel("share of segments")
    axes.legend(fontsize=8)
    axes.grid(visible=True, alpha=0.3)
