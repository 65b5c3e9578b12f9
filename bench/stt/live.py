"""The comparison: how many live streams ours and the baselines hold, and how long each utterance takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.speech import Sentence, arrivals
from bench.stt.contenders import TITLES, Kind, Way
from bench.stt.figures import Trial, most_held
from bench.stt.worker import Lane

PATIENCE = 2.0
"""Times the bound that an utterance is waited for behind the end of a run."""


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


@dataclass
class Compared:
    """Figures of each contender: by number of streams; seconds of each utterance alone; the most streams held."""

    trials: dict[Kind, dict[int, Trial]] = field(default_factory=dict)
    alone: dict[Kind, list[float]] = field(default_factory=dict)
    held: dict[Kind, int] = field(default_factory=dict)


def compare(ways: Mapping[Kind, Way], sentences: Sequence[Sentence], plan: Plan) -> Compared:
    """Load all, then let one after the other have the same utterances, never two at the same time."""
    compared = Compared()
    with ExitStack() as stack:
        lanes: dict[Kind, Lane] = {}
        for kind, way in ways.items():
            _tell(f"loading {TITLES[kind]}")
            lanes[kind] = stack.enter_context(Lane(way, sentences))
        compared.alone = {kind: [] for kind in lanes}
        _tell(f"{plan.singles} utterances, each alone")
        for turn in range(plan.singles):
            for kind, lane in lanes.items():
                compared.alone[kind].append(lane.alone(turn % len(sentences)))
        compared.trials = {kind: {} for kind in lanes}
        for streams in plan.streams:
            for kind, lane in lanes.items():
                compared.trials[kind][streams] = _run(lane, sentences, streams, plan)
        for kind, lane in lanes.items():
            compared.held[kind] = _search(lane, sentences, plan, compared.trials[kind])
    return compared


def _search(lane: Lane, sentences: Sequence[Sentence], plan: Plan, trials: dict[int, Trial]) -> int:
    def held(streams: int) -> bool:
        trials[streams] = _run(lane, sentences, streams, plan)
        return is_held(trials[streams], plan.bound)

    known = {streams: is_held(trial, plan.bound) for streams, trial in trials.items()}
    return most_held(held, known, plan.most)


def _run(lane: Lane, sentences: Sequence[Sentence], streams: int, plan: Plan) -> Trial:
    said = arrivals(sentences, streams, plan.seconds, plan.seed)
    trial = lane.live(said, plan.seconds, PATIENCE * plan.bound)
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
    """The figures that others compare; a ratio is null where the baseline holds no stream."""
    alone = {kind: median(seconds) for kind, seconds in compared.alone.items()}
    streams, baseline = compared.held["ours"], compared.held["one_at_a_time"]
    return {
        "streams": streams,
        "baseline_streams": baseline,
        "streams_ratio": round(streams / baseline, 2) if baseline else None,
        "single_latency_ratio": round(alone["ours"] / alone["one_at_a_time"], 3),
        "batched_pipeline_streams": compared.held["batched_pipeline"],
        "single_p50_ms": {kind: round(1_000 * seconds, 1) for kind, seconds in alone.items()},
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
