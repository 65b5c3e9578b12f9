"""Hundreds of live streams for a long time: what memory does, and whether every sample is kept.

`python -m bench.soak`: edge, nats-server, redis-server and a segmenter; clients stream real speech in real time, stop
after one to three minutes and come anew, so that what is left of meetings shows. At the end the samples that clients
have sent, those that were acked, and those that the segmenter has read from the stream must be the same, job by job.
Exit status 1 where one was lost or a client was not served to its end. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from audio import AudioError
from bench.deployment import DeployError, Deployment, deployed, edge_part, vad_part
from bench.load import Clients, LoadFailed, Plan, Report, Window, generating
from bench.program import log_to_stderr, run_until_told, within
from bench.soak.figures import Sample, growth, losses, summary, table
from bench.trace import segmented
from bus import StartError, connect
from bus.topology import StreamSettings
from compose.servers import StartError as ServerStartError
from contract import RATE, WIDTH

KEEP_HOURS = 0.25
"""How long sound stays in the streams: longer than any meeting, and short enough for any disk."""

_COPIES = 2.5
"""Bytes on disk for each byte of sound: frames with their headers, and what is speech of it once more."""

THROUGH_WITHIN = 90.0
"""Seconds that the segmenter may take to come to the end of all jobs, also of those that a client left unfinished."""

_TELL_EVERY = 60.0


class SoakFailed(Exception):
    """It cannot be run here; the message says why, and what helps."""


@dataclass(frozen=True)
class SoakPlan:
    """What is run. meeting: seconds of the shortest and the longest; every: seconds from sample to sample of memory."""

    streams: int
    seconds: float
    meeting: tuple[float, float]
    every: float


@dataclass(frozen=True)
class Soaked:
    """What came of it. stored: samples that the segmenter has read of each job."""

    samples: Sequence[Sample]
    window: Window
    report: Report
    stored: Mapping[str, int]


async def soak(plan: SoakPlan) -> Soaked:
    """Run it. Raises SoakFailed, LoadFailed, DeployError, StartError."""
    with tempfile.TemporaryDirectory(prefix="stenobus-soak-") as name:
        folder = Path(name)
        check_room(plan, folder)
        hours = str(KEEP_HOURS)
        parts = [edge_part(requires="vad", BUS_AUDIO_HOURS=hours), vad_part(BUS_AUDIO_HOURS=hours)]
        async with deployed(folder, parts) as system:
            load = Plan(system.url, plan.streams, leave=True, meeting=plan.meeting)
            async with generating(load) as clients:
                await clients.begin()
                samples = await _watch(system, clients, plan)
                window = await clients.end()
                report = await clients.finish()
            jobs = {meeting.job for meeting in report.meetings if meeting.job}
            async with connect(system.bus_url, streams=StreamSettings(audio_hours=KEEP_HOURS)) as bus:
                stored = await segmented(bus, jobs, THROUGH_WITHIN)
            system.check()
    return Soaked(samples, window, report, stored)


def check_room(plan: SoakPlan, folder: Path) -> None:
    """Raise SoakFailed where the disk of a folder is too small."""
    kept = min(plan.seconds + plan.meeting[1], KEEP_HOURS * 3_600)
    need, free = _COPIES * plan.streams * kept * RATE * WIDTH, shutil.disk_usage(folder).free
    if need > free:
        raise SoakFailed(
            f"{folder.parent}: {need / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; fewer --streams help, "
            "or another disk by TMPDIR"
        )


async def _watch(system: Deployment, clients: Clients, plan: SoakPlan) -> list[Sample]:
    began = told = monotonic()
    samples = []
    while True:
        at = monotonic() - began
        memory = {group: cost.kilobytes for group, cost in system.usage().items()}
        samples.append(Sample(at, memory))
        if monotonic() - told >= _TELL_EVERY:
            told = monotonic()
            known = ", ".join(f"{group} {kilobytes / 1_024:.0f}" for group, kilobytes in memory.items())
            print(f"{at / 60:.0f} of {plan.seconds / 60:g} minutes; MB: {known}", file=sys.stderr, flush=True)
        if at >= plan.seconds:
            return samples
        await asyncio.sleep(min(plan.every, plan.seconds - at))


def bench(plan: SoakPlan) -> tuple[dict[str, Any], bool]:
    """Run and print; returns what the last line says, and whether all was kept and everyone served."""
    soaked = run_until_told(soak(plan))
    report, window = soaked.report, soaked.window
    found, lost = growth(soaked.samples), losses(report, soaked.stored)
    sent, acked, stored = report.samples, report.samples - report.unacked, sum(soaked.stored.values())
    print(f"{plan.streams} streams for {plan.seconds / 60:g} minutes, {len(report.meetings)} meetings of ", end="")
    print(f"{plan.meeting[0]:g} to {plan.meeting[1]:g} s; slopes over the last two thirds\n")
    print(table(found))
    print(f"\nsamples: {sent} sent, {acked} acked, {stored} read from the stream to the end")
    for sentence in [*lost[:10], *(f"{number} x {error}" for error, number in report.errors.items()), window.excuse()]:
        if sentence:
            print(sentence)
    told = {"streams": plan.streams, "minutes": round(plan.seconds / 60, 2), **window.to_json()}
    return told | summary(found, report, soaked.stored, lost), not lost and not report.errors


def parse(argv: list[str] | None) -> SoakPlan:
    """Read the command line; ends the program where it is wrong."""
    seconds = within(float, 0.5, KEEP_HOURS * 3_600 / 2)
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=within(int, 1, 4_096), default=300, metavar="N", help="at a time (300)")
    parser.add_argument("--minutes", type=within(float, 0.05, 10_000), default=30.0, metavar="M", help="(30)")
    parser.add_argument(
        "--meeting", type=seconds, nargs=2, default=(60.0, 180.0), metavar="S", help="least and most seconds (60 180)"
    )
    parser.add_argument(
        "--every", type=within(float, 0.1, 600), default=5.0, metavar="S", help="a sample of memory (5)"
    )
    args = parser.parse_args(argv)
    if args.meeting[0] > args.meeting[1]:
        parser.error(f"--meeting {args.meeting[0]:g} {args.meeting[1]:g}: the least first is accepted")
    return SoakPlan(args.streams, 60 * args.minutes, (args.meeting[0], args.meeting[1]), args.every)


def main(argv: list[str] | None = None) -> int:
    """Run the soak; gives the exit status: 1 where a sample was lost or a client was not served to its end."""
    plan = parse(argv)
    log_to_stderr()
    try:
        found, good = bench(plan)
    except (AudioError, LoadFailed, ServerStartError, SoakFailed, DeployError, StartError, ValueError) as exc:
        print(f"soak: {exc}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    print(json.dumps(found))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
