"""Memory over time, and whether all sound is where it should be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.load import Report


@dataclass(frozen=True)
class Sample:
    """Memory at one moment. at: seconds from the beginning; kilobytes: by process."""

    at: float
    kilobytes: Mapping[str, float]


@dataclass(frozen=True)
class Growth:
    """Megabytes (2**20 bytes) of one process."""

    first: float
    last: float
    most: float
    an_hour: float
    """Slope of the line that fits the last two thirds best."""


def growth(samples: Sequence[Sample]) -> dict[str, Growth]:
    """Of each process. Raises ValueError where the last two thirds of the time have less than two samples."""
    settled = samples[-1].at / 3 if samples else 0.0
    late = [sample for sample in samples if sample.at >= settled]
    if len(late) < 2:
        raise ValueError(f"{len(samples)} samples of memory are too few for a slope: measure longer, or more often")
    hours = np.array([sample.at for sample in late]) / 3_600
    found = {}
    for name in samples[-1].kilobytes:
        all_of_it = [sample.kilobytes[name] / 1_024 for sample in samples]
        slope = np.polyfit(hours, np.array(all_of_it[-len(late) :]), 1)[0]
        found[name] = Growth(all_of_it[0], all_of_it[-1], max(all_of_it), float(slope))
    return found


def losses(report: Report, stored: Mapping[str, int]) -> list[str]:
    """A sentence for each job that has less than it should. stored: samples that were read from the stream, by job.

    What was acked must be stored; of a meeting that nothing befell, all that was sent must be acked.
    """
    found = []
    for meeting in report.meetings:
        if not meeting.job:
            continue
        there = stored.get(meeting.job)
        if there is None:
            found.append(f"job {meeting.job}: nobody came to the end of its {meeting.acked} acked samples")
        elif there < meeting.acked:
            found.append(f"job {meeting.job}: {meeting.acked} samples were acked, {there} are stored")
        elif meeting.error is None and not meeting.samples == meeting.acked == there:
            found.append(f"job {meeting.job}: {meeting.samples} samples sent, {meeting.acked} acked, {there} stored")
    return found


def table(found: Mapping[str, Growth]) -> str:
    """Lay memory out for a person."""
    lines = [f"{'MB':14}{'at first':>10}{'at last':>10}{'at most':>10}{'an hour':>10}"]
    lines += [
        f"{name:14}{one.first:10.1f}{one.last:10.1f}{one.most:10.1f}{one.an_hour:+10.2f}" for name, one in found.items()
    ]
    return "\n".join(lines)


def summary(
    found: Mapping[str, Growth], report: Report, stored: Mapping[str, int], lost: Sequence[str]
) -> dict[str, Any]:
    """The figures that others compare."""
    return {
        "meetings": len(report.meetings),
        "samples_sent": report.samples,
        "samples_acked": report.samples - report.unacked,
        "samples_stored": sum(stored.values()),
        "jobs_with_losses": len(lost),
        "errors": dict(report.errors),
        "slope_mb_per_hour": {name: round(one.an_hour, 2) for name, one in found.items()},
        "memory_mb": {
            name: {"first": round(one.first, 1), "last": round(one.last, 1), "most": round(one.most, 1)}
            for name, one in found.items()
        },
    }
