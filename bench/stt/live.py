"""The comparison: how many live streams ours and the baselines hold, and how long each utterance takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.speech import SAMPLES, Pace, Sentence, arrivals, in_a_row
from bench.stt.contenders import TITLES, Kind, Way
from bench.stt.figures import Trial, most_held
from bench.stt.worker import Lane

PATIENCE = 2.0
"""Multiples of the bound that an utterance is waited for after the end of a run."""

PATIENCE_OF_BACKLOG = 600.0
"""Seconds that all utterances at once may take."""


@dataclass(frozen=True)
class Plan:
    """What is run."""

    streams: Sequence[int]
    """Numbers that are measured in any case."""
    seconds: float
    """Of each run."""
    bound: float
    """Seconds of p95 latency up to which streams are held."""
    most: int
    """Streams that are tried at most."""
    singles: int
    """Utterances that are timed alone."""
    seed: int
    """Of who says what when."""
    pace: Pace = SAMPLES
    errors: bool = True
    """Whether words are counted: not where the model understands nothing."""
    noisy: Sequence[Sentence] = ()
    """Further sentences whose words are counted; nobody says them in a stream."""


@dataclass
class Compared:
    """Figures of each contender: by number of streams; seconds of each utterance alone; the most streams held."""

    trials: dict[Kind, dict[int, Trial]] = field(default_factory=dict)
    alone: dict[Kind, list[float]] = field(default_factory=dict)
    held: dict[Kind, int] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    """Word error rates over each sentence once; `whole_windows`: ours with encoder windows of 30 s."""


def compare(ways: Mapping[Kind, Way], sentences: Sequence[Sentence], plan: Plan) -> Compared:
    """Load all, then let one after the other have the same utterances, never two at the same time."""
    compared = Compared()
    everything = [*sentences, *plan.noisy]
    with ExitStack() as stack:
        lanes: dict[Kind, Lane] = {}
        for kind, way in ways.items():
            _tell(f"loading {TITLES[kind]}")
            lanes[kind] = stack.enter_context(Lane(way, everything))
        compared.alone = {kind: [] for kind in lanes}
        _tell(f"{plan.singles} utterances, each alone")
        for turn in range(plan.singles):
            for kind, lane in lanes.items():
                compared.alone[kind].append(lane.alone(turn % len(sentences)))
        if plan.errors:
            compared.errors["ours"] = _errors(lanes["ours"], everything)
            compared.errors["one_at_a_time"] = _errors(lanes["one_at_a_time"], everything)
            with Lane(replace(ways["ours"], shortest_window=30), everything) as lane:
                compared.errors["whole_windows"] = _errors(lane, everything)
        compared.trials = {kind: {} for kind in lanes}
        for streams in plan.streams:
            for kind, lane in lanes.items():
                compared.trials[kind][streams] = _run(lane, sentences, streams, plan)
        for kind, lane in lanes.items():
            compared.held[kind] = _search(lane, sentences, plan, compared.trials[kind])
    return compared


def _errors(lane: Lane, everything: Sequence[Sentence]) -> float:
    _tell(f"words of {len(everything)} utterances")
    return lane.live(in_a_row(len(everything)), 0.0, PATIENCE_OF_BACKLOG).word_error_rate(everything)


def _search(lane: Lane, sentences: Sequence[Sentence], plan: Plan, trials: dict[int, Trial]) -> int:
    def held(streams: int) -> bool:
        trials[streams] = _run(lane, sentences, streams, plan, plan.bound)
        return is_held(trials[streams], plan.bound)

    known = {streams: is_held(trial, plan.bound) for streams, trial in trials.items()}
    return most_held(held, known, plan.most)


def _run(lane: Lane, sentences: Sequence[Sentence], streams: int, plan: Plan, bound: float | None = None) -> Trial:
    said = arrivals(sentences, streams, plan.seconds, plan.seed, plan.pace)
    trial = lane.live(said, plan.seconds, PATIENCE * plan.bound, bound)
    _tell(f"{TITLES[lane.way.kind]}, {streams} streams: p95 {trial.latency(95)} ms")
    return trial


def is_held(trial: Trial, bound: float) -> bool:
    """Whether the 95th percentile of the latency is within the bound, in seconds."""
    p95 = trial.latency(95)
    return p95.exact and p95.seconds <= bound


def table(compared: Compared, sentences: Sequence[Sentence], *, accuracy: bool) -> str:
    """Lay the figures out for a person. accuracy: whether the model understands anything."""
    lines = [f"{'streams':>7}  {'':28}{'sound s/s':>10}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'batch':>7}{'cores':>7}"]
    lines[0] += f"{'given up':>12}" + (f"{'WER %':>8}" if accuracy else "")
    for streams in sorted({number for trials in compared.trials.values() for number in trials}):
        for kind, trials in compared.trials.items():
            if streams in trials:
                lines.append(f"{streams:7}  {TITLES[kind]:28}" + _row(trials[streams], sentences, accuracy))
    return "\n".join(lines)


def _row(trial: Trial, sentences: Sequence[Sentence], accuracy: bool) -> str:
    latencies = "".join(f"{trial.latency(q)!s:>9}" for q in (50, 95, 100))
    done = len(trial.answers) - trial.given_up
    errors = f"{100 * trial.word_error_rate(sentences):8.1f}" if accuracy and done else ""
    share = f"{trial.given_up} of {len(trial.answers)}"
    cores = trial.cpu / trial.seconds
    return f"{trial.throughput(sentences):10.1f}{latencies}{trial.batch:7.1f}{cores:7.1f}{share:>12}{errors}"


def summary(compared: Compared) -> dict[str, Any]:
    """The figures that others compare. streams_ratio: ours over the best of the others; null where none holds a stream.

    wer: per cent; wer_points: how much more errors ours makes than it would with encoder windows of 30 s.
    """
    alone = {kind: median(seconds) for kind, seconds in compared.alone.items()}
    streams, best = compared.held["ours"], max(held for kind, held in compared.held.items() if kind != "ours")
    errors = {kind: round(100 * rate, 2) for kind, rate in compared.errors.items()}
    return {
        "streams": streams,
        "best_other_streams": best,
        "streams_ratio": round(streams / best, 2) if best else None,
        "held": compared.held,
        "single_latency_ratio": round(alone["ours"] / alone["one_at_a_time"], 3),
        "single_p50_ms": {kind: round(1_000 * seconds, 1) for kind, seconds in alone.items()},
        **({"wer": errors, "wer_points": round(errors["ours"] - errors["whole_windows"], 2)} if errors else {}),
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_LOOKS: dict[Kind, tuple[str, str]] = {
    "ours": ("tab:blue", "o"),
    "one_at_a_time": ("tab:orange", "s"),
    "batched_pipeline": ("tab:green", "D"),
    "sliding_window": ("tab:red", "v"),
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
