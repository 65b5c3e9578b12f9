"""What a frame costs: figures of the trials, a table and a picture. Pure but for `plot`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.stt.figures import percentile

Contender = Literal["naive", "ours", "system"]

COMPARED: tuple[Contender, ...] = ("naive", "ours")
"""The same processes stand beside each of these: nats-server, and the clients."""

CONTENDERS: tuple[Contender, ...] = (*COMPARED, "system")

TITLES: dict[Contender, str] = {
    "naive": "naive: await publish",
    "ours": "ours",
    "system": "ours, and a segmenter",
}

FRAMES_A_SECOND = 1_000 / 30
"""Of one live stream."""


@dataclass(frozen=True)
class Trial:
    """One contender in one round. Costs are microseconds of processor time for a frame of 30 ms that was acked."""

    contender: Contender
    edge: float
    nats: float
    vad: float | None
    """None: there is no segmenter."""
    acks: Sequence[float]
    """Seconds from a frame handed to the client's socket until it is stored."""
    frames: int
    late_ms: float
    """By how much the clients' own frames were late at p99."""
    neighbours: float
    """Cores that other programs kept busy."""
    doubts: Sequence[str]
    """Sentences on what may have spoilt it."""


def order(number: int) -> list[Contender]:
    """Who comes when in round `number`: each of the compared is first in turn.

    So drift hits both alike. The system comes behind them, so that they are next to each other.
    """
    turn = number % len(COMPARED)
    return [*COMPARED[turn:], *COMPARED[:turn], "system"]


def busy(readings: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """Cores that each group kept busy, the median of the spans between readings: one burst of a neighbour is left out.

    readings: at least two, each at which second, and the processor time of each group by then.
    """
    spans = [
        {group: (used[group] - before[group]) / (now - then) for group in used}
        for (then, before), (now, used) in pairwise(readings)
    ]
    return {group: median(span[group] for span in spans) for group in spans[0]}


def of(trials: Sequence[Trial], contender: Contender) -> list[Trial]:
    """Those of one contender, by rounds."""
    return [trial for trial in trials if trial.contender == contender]


def ratio(trials: Sequence[Trial], contender: Contender) -> float:
    """Its edge over that of the naive one: the median of what each round says. Raises StatisticsError without any."""
    pairs = zip(of(trials, contender), of(trials, "naive"), strict=True)
    return median(ours.edge / naive.edge for ours, naive in pairs)


def streams_per_core(trials: Sequence[Trial], contender: Contender) -> float:
    """Live streams for which one core of an edge is enough."""
    return _per_core(middle(trials, contender, lambda trial: trial.edge))


def vad_streams_per_core(trials: Sequence[Trial]) -> float:
    """Live streams for which one core of a segmenter is enough."""
    return _per_core(middle(trials, "system", lambda trial: trial.vad))


def _per_core(microseconds: float) -> float:
    return 1e6 / (microseconds * FRAMES_A_SECOND)


def middle(trials: Sequence[Trial], contender: Contender, figure: Callable[[Trial], float | None]) -> float:
    """The median over the rounds; 0 if there is no such figure."""
    found = [value for trial in of(trials, contender) if (value := figure(trial)) is not None]
    return median(found) if found else 0.0


def ack_ms(trials: Sequence[Trial], contender: Contender, q: float) -> float:
    """A percentile over all rounds together. Raises ValueError without any."""
    return 1_000 * percentile([ack for trial in of(trials, contender) for ack in trial.acks], q)


def table(trials: Sequence[Trial]) -> str:
    """Lay the figures out for a person."""
    lines = [
        f"{'':30}{'edge':>8}{'(least-most)':>15}{'nats':>8}{'vad':>7}{'sum':>8}"
        f"{'streams a core':>16}{'of naive':>10}{'ack p50':>10}{'p99 ms':>8}",
    ]
    for contender in CONTENDERS:
        edges = [trial.edge for trial in of(trials, contender)]
        nats = middle(trials, contender, lambda trial: trial.nats)
        vad = middle(trials, contender, lambda trial: trial.vad)
        spread = f"({min(edges):.1f}-{max(edges):.1f})"
        of_naive = f"{ratio(trials, contender):.2f}" if contender in COMPARED else "-"
        lines.append(
            f"{TITLES[contender]:30}{median(edges):8.1f}{spread:>15}{nats:8.1f}"
            f"{f'{vad:.1f}' if vad else '-':>7}{median(edges) + nats + vad:8.1f}"
            f"{streams_per_core(trials, contender):16.0f}{of_naive:>10}"
            f"{ack_ms(trials, contender, 50):10.1f}{ack_ms(trials, contender, 99):8.1f}"
        )
    return "\n".join(lines)


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """The figures as one flat object; those without a suffix are ours.

    But `vad_*`, which are of the only segmenter there is, that of the system.
    """
    found: dict[str, Any] = {"ratio": round(ratio(trials, "ours"), 3)}
    for contender in ("ours", "naive", "system"):
        tail = "" if contender == "ours" else f"_{contender}"
        found |= {
            f"streams_per_core{tail}": round(streams_per_core(trials, contender)),
            f"ack_p50_ms{tail}": round(ack_ms(trials, contender, 50), 2),
            f"ack_p99_ms{tail}": round(ack_ms(trials, contender, 99), 2),
            f"edge_us{tail}": round(middle(trials, contender, lambda trial: trial.edge), 2),
            f"nats_us{tail}": round(middle(trials, contender, lambda trial: trial.nats), 2),
        }
    return found | {
        "vad_us": round(middle(trials, "system", lambda trial: trial.vad), 2),
        "vad_streams_per_core": round(vad_streams_per_core(trials)),
        "frames": sum(trial.frames for trial in trials),
        "client_late_p99_ms": max(trial.late_ms for trial in trials),
        "other_programs_cores": round(max(trial.neighbours for trial in trials), 2),
        "doubts": doubts(trials),
    }


def doubts(trials: Sequence[Trial]) -> list[str]:
    """What may have spoilt figures, and which."""
    return [f"{TITLES[trial.contender]}: {doubt}" for trial in trials for doubt in trial.doubts]


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
