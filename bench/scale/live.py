"""The live path under so many streams: edge, nats-server and segmenter, without a speech model. What each costs."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from bench.deployment import DeployError, Deployment, Usage, deployed, edge_part, vad_part
from bench.load import LoadFailed, Plan, Report, Window, generating
from bench.load.report import read_acks
from bench.scale.figures import GROUPS, Run, doubts, order
from bench.timeline import Endpointing, percentiles
from bench.trace import segmented, wall_ahead
from bus import connect
from contract import RATE, Utterance

_WARM_UP = 5
"""Clients before the others, so that all code is loaded: what that takes is not the cost of a stream."""

_LEAST_TIMED = 1.0
"""Seconds after the window in which acks are timed: recording costs CPU, too."""

_THROUGH_WITHIN = 60.0

_ENDPOINTING = Endpointing()


@dataclass(frozen=True)
class LivePlan:
    """What is run. Seconds."""

    levels: Sequence[int]
    rounds: int
    ramp: float = 10.0
    window: float = 12.0


async def measure(plan: LivePlan) -> list[list[Run]]:
    """Runs of all levels by rounds, each on servers of its own; a level that fails is reported and left out."""
    rounds: list[list[Run]] = []
    for number, levels in enumerate(order(plan.levels, plan.rounds), 1):
        rounds.append([])
        for streams in levels:
            what = f"round {number} of {plan.rounds}, {streams} streams"
            try:
                run = await _run(streams, plan)
            except (LoadFailed, DeployError) as exc:
                print(f"{what}: {exc}", file=sys.stderr, flush=True)
                continue
            rounds[-1].append(run)
            print(f"{what}: {run.total:.0f} us for a second of sound", file=sys.stderr, flush=True)
    return rounds


async def _run(streams: int, plan: LivePlan) -> Run:
    with tempfile.TemporaryDirectory(prefix="stenobus-scale-") as name:
        folder = Path(name)
        record = folder / "acks.json"
        parts = [edge_part(requires="vad", record=record), vad_part()]
        async with deployed(folder, parts) as system:
            before = await _warm_up(system)
            load = Plan(system.url, streams, leave=True, ramp=plan.ramp, settle=plan.ramp / 5, times=True)
            async with generating(load) as clients:
                await clients.begin()
                began, cpu = monotonic(), system.cpu()
                await asyncio.sleep(plan.window)
                ended, used = monotonic(), system.cpu()
                window = await clients.end()
                after = system.usage().since(before)
                system.signal("edge", signal.SIGUSR1)  # from now on it notes what is stored
                timed = monotonic()
                await asyncio.sleep(max(_LEAST_TIMED, plan.window / 4))
                until = monotonic()
                report = await clients.finish()
            late, behind = await _late(system, report, window)
        heard = window.samples / RATE / window.seconds * (ended - began)  # seconds of sound while CPU was read
        lag = percentiles(late) if late else {}
        acks = read_acks(record, report.meetings, timed, until)
        unacked = (window.samples - window.acked) / RATE / streams
        return Run(
            streams=streams,
            cpu={group: 1e6 * (used[group] - cpu[group]) / heard for group in GROUPS},
            kilobytes={group: after[group].kilobytes / streams for group in GROUPS},
            ack=percentiles(acks) if acks else {},
            lag=lag,
            complaints=doubts(clients.failed, unacked, lag, [window.excuse(), report.excuse(), behind]),
        )


async def _warm_up(system: Deployment) -> Usage:
    """What everything has cost before the streams come.

    The process of the clients is still there: it shares pages with the others, so that their proportional set sizes
    would be larger without it.
    """
    async with generating(Plan(system.url, _WARM_UP, leave=True, ramp=0.0, settle=0.5)) as clients:
        await clients.finish()
        return system.usage()


async def _late(system: Deployment, report: Report, window: Window) -> tuple[list[float], str]:
    """Seconds from when the sample was sent that decides until the utterance was stored, for those of the window.

    And a sentence where the segmenter was not through with all jobs, so that the latest are missing.
    """
    meetings = {meeting.job: meeting for meeting in report.meetings if meeting.error is None}
    ahead, found = wall_ahead(), []
    async with connect(system.bus_url) as bus:
        through = await segmented(bus, meetings.keys(), _THROUGH_WITHIN)
        async for raw in bus.read("SPEECH", Utterance.pattern(), live=False):
            utterance = Utterance.decode(raw.data)
            meeting = meetings.get(utterance.job)
            if meeting is None or not _ENDPOINTING.applies(utterance, meeting.samples):
                continue
            decided = meeting.handed_with(_ENDPOINTING.decision(utterance))
            if window.began <= decided < window.ended:
                found.append(raw.time.timestamp() - ahead - decided)
    left = len(meetings) - len(through)
    return found, f"the segmenter was not through with {left} jobs after {_THROUGH_WITHIN:g} s" if left else ""
