"""What each setting of the speech engine brings: throughput, latency and accuracy, one setting changed at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench.speech import Arrival, Sentence
from bench.stt.contenders import Way
from bench.stt.worker import Lane

PATIENCE = 600.0
"""Seconds that a backlog may take."""


@dataclass(frozen=True)
class Setting:
    """One setting of a lever."""

    lever: str
    name: str
    way: Way


@dataclass(frozen=True)
class Gain:
    """What a setting gave: medians of the rounds, each with a backlog."""

    setting: Setting
    throughput: float
    """Seconds of sound in a second."""
    per_core: float
    """Seconds of sound in a second of processor time: other programs do not change it much."""
    batch: float
    """Utterances that were decoded together, on average."""
    alone: float
    """Seconds that an utterance takes when there is no other."""
    errors: float
    """Word error rate."""


def settings(way: Way, cores: int) -> list[Setting]:
    """Those that are measured, lever by lever; all else is as in `way`."""
    return [
        *(
            Setting("encoder window", name, replace(way, shortest_window=seconds))
            for name, seconds in (("always 30 s", 30.0), ("from 5 s on", 5.0))
        ),
        *(Setting("batch size", str(n), replace(way, batch_size=n)) for n in _batch_sizes(way)),
        *(Setting("compute type", name, replace(way, compute_type=name)) for name in _compute_types(way)),
        *(Setting("workers x threads", *pair) for pair in _sharing(way, cores)),
        *(Setting("beam size", str(n), replace(way, beam_size=n)) for n in (1, 5)),
    ]


def _batch_sizes(way: Way) -> tuple[int, ...]:
    return (1, 8, 32, 64) if way.device == "cuda" else (1, 4, 8, 16)


def _compute_types(way: Way) -> tuple[str, ...]:
    return ("float16", "int8_float16") if way.device == "cuda" else ("int8", "float32")


def _sharing(way: Way, cores: int) -> list[tuple[str, Way]]:
    if way.device == "cuda":
        return [(f"{n} workers", replace(way, workers=n)) for n in (1, 2)]
    pairs = {(1, cores): 1, (cores, 1): 1, (1, max(1, cores // 2)): 2}
    return [
        (
            f"{workers} x {threads}" + (f", {number} processes" if number > 1 else ""),
            replace(way, workers=workers, threads=threads, processes=number),
        )
        for (workers, threads), number in pairs.items()
    ]


def measure(found: Sequence[Setting], sentences: Sequence[Sentence], rounds: int, singles: int) -> list[Gain]:
    """Each setting, a lever's settings taking turns, so that what else goes on on the machine meets all of them."""
    gains = []
    for lever in dict.fromkeys(setting.lever for setting in found):
        gains += _lever([setting for setting in found if setting.lever == lever], sentences, rounds, singles)
    return gains


def _lever(mine: Sequence[Setting], sentences: Sequence[Sentence], rounds: int, singles: int) -> list[Gain]:
    print(f"{mine[0].lever}: {', '.join(setting.name for setting in mine)}", file=sys.stderr, flush=True)
    backlog = [Arrival(0.0, stream=index, sentence=index) for index in range(len(sentences))]
    with ExitStack() as stack:
        lanes = [stack.enter_context(Lane(setting.way, sentences)) for setting in mine]
        turns = [[lane.live(backlog, 0.0, PATIENCE) for lane in lanes] for _ in range(rounds)]
        alone = [[lane.alone(index) for lane in lanes] for index in range(singles)]
    return [
        Gain(
            setting,
            median(turn[column].throughput(sentences) for turn in turns),
            median(turn[column].per_core(sentences) for turn in turns),
            median(turn[column].batch for turn in turns),
            median(turn[column] for turn in alone),
            median(turn[column].word_error_rate(sentences) for turn in turns),
        )
        for column, setting in enumerate(mine)
    ]


def table(gains: Sequence[Gain], *, accuracy: bool) -> str:
    """Lay the figures out for a person. accuracy: whether the model understands anything."""
    head = f"{'lever':20}{'setting':24}{'sound s/s':>10}{'per core':>10}{'batch':>7}{'alone p50 ms':>14}"
    lines = [head + (f"{'WER %':>8}" if accuracy else "")]
    for gain in gains:
        line = f"{gain.setting.lever:20}{gain.setting.name:24}{gain.throughput:10.1f}{gain.per_core:10.1f}"
        line += f"{gain.batch:7.1f}{gain.alone * 1_000:14.0f}" + (f"{gain.errors * 100:8.1f}" if accuracy else "")
        lines.append(line)
    return "\n".join(lines)


def summary(gains: Sequence[Gain], *, accuracy: bool) -> dict[str, Any]:
    """The figures by lever and setting."""
    levers: dict[str, Any] = {}
    for gain in gains:
        figures = {
            "throughput": round(gain.throughput, 2),
            "throughput_per_core": round(gain.per_core, 2),
            "single_p50_ms": round(gain.alone * 1_000, 1),
        }
        if accuracy:
            figures["word_error_rate"] = round(gain.errors, 4)
        levers.setdefault(gain.setting.lever, {})[gain.setting.name] = figures
    return {"levers": levers}
