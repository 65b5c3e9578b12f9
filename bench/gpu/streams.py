"""Throughput of a backlog, and live streams, through the engine and the scheduler of the `stt` process."""

from __future__ import annotations

from time import monotonic
from typing import Any, Literal

from bench.gpu.phase import Plan, Tell
from bench.speech import Arrival, arrivals, duty_cycle, load_sentences
from bench.stt.contenders import Way
from bench.stt.live import is_held
from bench.stt.worker import Lane
from processors.stt.whisper.models import choose_compute_type
from tools.system import ROOT

_PATIENCE = 2.0
"""Multiples of the bound that utterances are waited for after a run."""


def _way(plan: Plan, workers: int = 0) -> Way:
    device: Literal["cpu", "cuda"] = "cuda" if plan.device == "cuda" else "cpu"
    return Way("ours", plan.large, device, choose_compute_type("auto", device), workers=workers)


def backlog(plan: Plan, tell: Tell, workers: int = 0) -> None:
    """Seconds of sound that become text in a second when all of it is there at once."""
    sentences = load_sentences(ROOT / "samples")
    said = [Arrival(0.0, index, index % len(sentences)) for index in range(plan.backlog)]
    with Lane(_way(plan, workers), sentences) as lane:
        for turn in range(1, plan.rounds + 1):
            trial = lane.live(said, 0.0, 600.0)
            tell({f"round_{turn}": round(trial.throughput(sentences), 1), "batch": round(trial.batch, 1)})


def one_worker(plan: Plan, tell: Tell) -> None:
    """The same with one call at a time."""
    backlog(plan, tell, 1)


def two_workers(plan: Plan, tell: Tell) -> None:
    """The same with two."""
    backlog(plan, tell, 2)


def live(plan: Plan, tell: Tell) -> None:
    """How many live streams have 95 % of their finals within the bound; goes on until it is stopped or knows it."""
    sentences = load_sentences(ROOT / "samples")
    levels: list[dict[str, Any]] = []
    tell({"bound_s": plan.bound, "duty_cycle": round(duty_cycle(sentences), 2), "held": 0})
    with Lane(_way(plan), sentences) as lane:
        low, high, streams = 0, 0, plan.streams
        while not high or high - low > max(1, low // 8):
            began = monotonic()
            said = arrivals(sentences, streams, plan.seconds, 1)
            trial = lane.live(said, plan.seconds, _PATIENCE * plan.bound, plan.bound)
            held = is_held(trial, plan.bound)
            level = {
                "streams": streams,
                "held": held,
                **{f"p{q}_ms": str(trial.latency(q)) for q in (50, 95)},
                "batch": round(trial.batch, 1),
                "cores": round(trial.cpu / trial.seconds, 2),
                "seconds": round(monotonic() - began, 1),
            }
            levels.append(level)
            low, high = (streams, high) if held else (low, streams)
            tell({"held": low, "levels": list(levels)})
            if low >= plan.most_streams:
                break
            streams = (low + high) // 2 if high else min(plan.most_streams, 2 * low)
