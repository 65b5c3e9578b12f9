"""How long finals took: figures, a table and a picture. Pure but for `plot`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.timeline import FIGURES, Endpointing, Timeline, percentiles
from bench.trace import Meeting, MeetingFailed
from contract import RATE, Utterance

ROWS = {
    "speech_end_to_final": "end of speech -> final",
    "decision_to_final": "decision -> final",
    "inference": "- inference",
    "overhead": "= overhead",
    "edge_in": "  edge in: socket -> AUDIO",
    "vad": "  vad: AUDIO -> SPEECH",
    "stt": "  stt: SPEECH -> EVENTS, without inference",
    "edge_out": "  edge out: EVENTS -> client",
    "inprocess_speech_end_to_final": "inprocess: end of speech -> final",
    "inprocess_decision_to_final": "inprocess: decision -> final",
    "inference_alone": "our inference alone, nothing around it",
}
"""The table's rows, and how a person reads them."""

Spread = dict[str, float]

_ROUNDING = RATE // 1_000
"""Samples: clients get times in milliseconds."""


@dataclass(frozen=True, slots=True)
class Final:
    """A segment at a server of which nothing but the client's side is known; seconds on one clock, as in Timeline."""

    spoken: float
    decided: float
    told: float


@dataclass
class Measured:
    """What all runs gave, each list for the same segments. `left_out`: how many segments hangover did not end."""

    ways: list[Timeline] = field(default_factory=list)
    inprocess: list[Final] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    """Seconds that inference alone took."""
    left_out: int = 0


def finals(meeting: Meeting, spoken: Iterable[Utterance], endpointing: Endpointing) -> list[Final]:
    """The same segments in a meeting with another server. Raises MeetingFailed where that has cut otherwise."""
    found = []
    for utterance in spoken:
        end = meeting.ends.get(utterance.index)
        if end is None or abs(end - utterance.end) > _ROUNDING:
            where = "is missing" if end is None else f"ends at {end / RATE:.3f} s"
            raise MeetingFailed(
                f"segment {utterance.index} {where} at inprocess and ends at {utterance.end / RATE:.3f} s at ours: "
                "they are to be cut the same way (VAD_* settings change only ours)"
            )
        found.append(
            Final(
                spoken=meeting.handed_with(endpointing.speech_end(utterance)),
                decided=meeting.handed_with(endpointing.decision(utterance)),
                told=meeting.told[utterance.index],
            )
        )
    return found


def spreads(measured: Measured) -> dict[str, Spread]:
    """Percentiles in milliseconds of each row. Raises ValueError where there is nothing."""
    ours = {name: percentiles([figure(way) for way in measured.ways]) for name, figure in FIGURES.items()}
    return ours | {
        "inprocess_speech_end_to_final": percentiles([final.told - final.spoken for final in measured.inprocess]),
        "inprocess_decision_to_final": percentiles([final.told - final.decided for final in measured.inprocess]),
        "inference_alone": percentiles(measured.alone),
    }


def table(figures: dict[str, Spread]) -> str:
    """Lay the figures out for a person."""
    lines = [f"{'ms':42}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"]
    lines += [f"{title:42}" + "".join(f"{ms:9.1f}" for ms in figures[name].values()) for name, title in ROWS.items()]
    return "\n".join(lines)


def summary(figures: dict[str, Spread], segments: int) -> dict[str, float]:
    """The figures as one flat object; `ratio_to_*` is our decision -> final over the other's, medians both."""
    flat = {f"{name}_{q}_ms": spread[q] for name, spread in figures.items() for q in ("p50", "p99")}
    ours = figures["decision_to_final"]["p50"]
    return {
        "segments": segments,
        **flat,
        "ratio_to_inprocess": round(ours / figures["inprocess_decision_to_final"]["p50"], 2),
        "ratio_to_inference_alone": round(ours / figures["inference_alone"]["p50"], 2),
    }


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
