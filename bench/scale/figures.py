"""What levels of live streams cost, and how that grows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

GROUPS = ("edge", "nats", "vad")
"""Processes whose cost is reported."""

REFERENCE = 300
"""The level whose figures are reported singly, or the nearest one."""

_SPREADS = ("cpu", "kilobytes", "ack", "lag")

_RATIO_OF = (50, 500)

_LATE_MS = 1_000.0
"""A segmenter that is later than this does not keep up, so its cost is not yet complete."""

_UNACKED_SECONDS = 1.0
"""Seconds of sound by which acks of each stream may fall behind in a window; they come twice a second."""


@dataclass(frozen=True)
class Run:
    """One run of one level. complaints: why its figures are not what they seem; empty: they are."""

    streams: int
    cpu: Mapping[str, float]
    """Microseconds that each group used for one second of sound."""
    kilobytes: Mapping[str, float]
    """Memory that each group took for one stream."""
    ack: Mapping[str, float]
    """Spread in milliseconds from a frame handed to the client's socket until it is stored."""
    lag: Mapping[str, float]
    """Spread in milliseconds from the frame that decides until the utterance is stored."""
    complaints: Sequence[str] = ()

    @property
    def total(self) -> float:
        """Microseconds of all groups."""
        return sum(self.cpu[group] for group in GROUPS)


def doubts(failed: Sequence[str], unacked: float, lag: Mapping[str, float], excuses: Iterable[str]) -> list[str]:
    """What has to be reported with a run.

    failed: what clients said that did not come; unacked: seconds of sound of each stream by which acks fell behind.
    """
    found = [f"{len(failed)} clients could not come: {failed[0]}"] if failed else []
    found += filter(None, excuses)
    if unacked > _UNACKED_SECONDS:
        found.append(f"acks fell behind by {unacked:.1f} s of the sound of each stream")
    if lag.get("p99", 0.0) > _LATE_MS:
        found.append(f"the segmenter was behind: {lag['p99']:.0f} ms at p99")
    return found


def pair(levels: Sequence[int]) -> tuple[int, int] | None:
    """The two levels whose costs are compared: 50 and 500, or the least and the most; None where there is but one."""
    if set(_RATIO_OF) <= set(levels):
        return _RATIO_OF
    return (min(levels), max(levels)) if len(set(levels)) > 1 else None


def order(levels: Sequence[int], rounds: int) -> list[list[int]]:
    """Which level is run when, by rounds: the compared two next to each other, every other round backwards.

    So a machine that becomes slower by and by is not taken for a cost that grows.
    """
    compared = pair(levels) or ()
    there = [*compared, *(level for level in levels if level not in compared)]
    return [there[:: -1 if turn % 2 else 1] for turn in range(rounds)]


def ratio(rounds: Sequence[Sequence[Run]], levels: tuple[int, int]) -> float | None:
    """What a stream costs at the second level over the first, median of the rounds; None where that is not known."""
    found = []
    for runs in rounds:
        cost = {run.streams: run.total for run in runs}
        if set(levels) <= cost.keys():
            found.append(cost[levels[1]] / cost[levels[0]])
    return median(found) if found else None


def medians(rounds: Sequence[Sequence[Run]]) -> list[Run]:
    """One run for each level, by streams: medians of its figures, and all complaints about it once."""
    runs = [run for each in rounds for run in each]
    found = []
    for streams in sorted({run.streams for run in runs}):
        same = [run for run in runs if run.streams == streams]
        complaints = list(dict.fromkeys(text for run in same for text in run.complaints))
        cpu, kilobytes, ack, lag = (_median([getattr(run, name) for run in same]) for name in _SPREADS)
        found.append(Run(streams, cpu, kilobytes, ack, lag, complaints))
    return found


def _median(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for each in figures for name in each)
    return {name: median(each[name] for each in figures if name in each) for name in names}


def reference(runs: Sequence[Run]) -> Run:
    """The level whose figures are reported singly. Raises ValueError if there is none."""
    if not runs:
        raise ValueError("no level was measured")
    return min(runs, key=lambda run: abs(run.streams - REFERENCE))


def table(runs: Sequence[Run]) -> str:
    """Lay the figures out for a person; `!` where there is a complaint, which comes below."""
    over = (("CPU us for a second of sound", 36), ("ack ms", 15), ("segmenter late ms", 17), ("kB a stream", 24))
    lines = [
        " " * 7 + "".join(f"  {title:^{width}}" for title, width in over),
        f"{'streams':>7}  {'edge':>9}{'nats':>9}{'vad':>9}{'sum':>9}  {'p50':>7}{'p99':>8}  {'p50':>8}{'p99':>9}  "
        f"{'edge':>8}{'nats':>8}{'vad':>8}",
    ]
    for run in runs:
        costs = "".join(f"{run.cpu[group]:9.0f}" for group in GROUPS)
        memory = "".join(f"{run.kilobytes[group]:8.0f}" for group in GROUPS)
        lines.append(
            f"{run.streams:7}  {costs}{run.total:9.0f}  {_ms(run.ack, 'p50', 7)}{_ms(run.ack, 'p99', 8)}  "
            f"{_ms(run.lag, 'p50', 8)}{_ms(run.lag, 'p99', 9)}  {memory}{' !' if run.complaints else ''}"
        )
    lines += [f"! {run.streams} streams: {text}" for run in runs for text in run.complaints]
    return "\n".join(lines)


def _ms(spread: Mapping[str, float], name: str, width: int) -> str:
    return f"{spread[name]:{width}.1f}" if name in spread else f"{'-':>{width}}"


def summary(rounds: Sequence[Sequence[Run]]) -> dict[str, Any]:
    """The figures that others compare. Raises ValueError where no level was measured."""
    runs = medians(rounds)
    one, compared = reference(runs), pair([run.streams for run in runs])
    found: dict[str, Any] = {"reference_streams": one.streams}
    if compared and (grown := ratio(rounds, compared)) is not None:
        found[f"cost_{compared[1]}_over_{compared[0]}"] = round(grown, 3)
    return found | {
        "ack_p50_ms": one.ack.get("p50"),
        "ack_p99_ms": one.ack.get("p99"),
        "vad_streams_per_core": round(1e6 / one.cpu["vad"]),
        "levels": [
            {
                "streams": run.streams,
                **{f"{group}_us": round(run.cpu[group], 1) for group in GROUPS},
                "sum_us": round(run.total, 1),
                **{f"ack_{name}_ms": run.ack.get(name) for name in ("p50", "p99")},
                **{f"lag_{name}_ms": run.lag.get(name) for name in ("p50", "p99")},
                **{f"{group}_kb": round(run.kilobytes[group], 1) for group in GROUPS},
                "complaints": list(run.complaints),
            }
            for run in runs
        ],
    }
