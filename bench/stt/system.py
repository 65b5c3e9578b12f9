"""The whole system under live streams: from the end of speech to the final at the client."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.stt.clients import Outcome
from bench.stt.figures import percentile
from tools.system import ROOT, System, running_system, tails


class LoadFailed(Exception):
    """The clients were not served; the message says what happened."""


@dataclass(frozen=True)
class Point:
    """What came of so many streams at the same time."""

    streams: int
    outcome: Outcome
    busy: float
    """Share of all cores of the machine, with whatever else ran on it."""
    cores: int


async def measure(counts: Sequence[int], seconds: float, seed: int, env: dict[str, str]) -> list[Point]:
    """Let so many clients talk to a system of our own, one number after the other; env: settings of the system."""
    with tempfile.TemporaryDirectory(prefix="stenobus-stt-") as folder:
        async with running_system(Path(folder), root=ROOT, **env) as system:
            return [await _point(system, streams, seconds, seed) for streams in counts]


async def _point(system: System, streams: int, seconds: float, seed: int) -> Point:
    print(f"the whole system, {streams} streams, {seconds:g} s", file=sys.stderr, flush=True)
    psutil.cpu_percent()  # the next call tells of the time since this one
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.stt.clients", system.url, str(streams), str(seconds), str(seed)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        told, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LoadFailed(f"{streams} streams: {complaint.decode().strip()}\n{tails(system.data)}")
    outcome = Outcome(**json.loads(told))
    if not outcome.latencies:
        raise LoadFailed(f"{streams} streams: there was no final; {outcome.said} sentences were said")
    return Point(streams, outcome, psutil.cpu_percent() / 100, os.cpu_count() or 1)


def table(points: Sequence[Point]) -> str:
    """Lay the figures out for a person."""
    lines = [
        f"{'streams':>7}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'finals':>8}{'said':>7}"
        f"{'machine busy':>14}{'of it clients':>15}{'frames late ms':>16}"
    ]
    for point in points:
        found, at = point.outcome, _spread(point)
        lines.append(
            f"{point.streams:7}{at['p50']:9.0f}{at['p95']:9.0f}{at['max']:9.0f}{len(found.latencies):8}{found.said:7}"
            f"{point.busy:14.0%}{found.cpu / point.cores:15.0%}{found.late * 1_000:16.0f}"
        )
    return "\n".join(lines)


def summary(points: Sequence[Point], bound: float) -> dict[str, Any]:
    """The figures, and the most streams whose p95 was within `bound` seconds; 0: none."""
    told = [
        {
            "streams": point.streams,
            **{f"{name}_ms": round(ms, 1) for name, ms in _spread(point).items()},
            "finals": len(point.outcome.latencies),
            "sentences": point.outcome.said,
            "machine_busy": round(point.busy, 2),
            "client_cores": round(point.outcome.cpu, 3),
        }
        for point in points
    ]
    held = [point.streams for point in points if _spread(point)["p95"] <= bound * 1_000]
    return {"system": told, "bound_s": bound, "held": max(held, default=0)}


def _spread(point: Point) -> dict[str, float]:
    ms = [1_000 * seconds for seconds in point.outcome.latencies]
    return {"p50": percentile(ms, 50), "p95": percentile(ms, 95), "max": max(ms)}
