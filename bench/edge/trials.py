"""The trials: live streams against one edge after the other, each with servers of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from bench.deployment import (
    DeployError,
    Deployment,
    OtherPrograms,
    Part,
    deployed,
    edge_part,
    naive_part,
    vad_part,
)
from bench.edge.figures import Contender, Trial, busy, order
from bench.load import Plan, generating
from bench.load.report import read_acks
from contract import RATE

_FELL_BEHIND = 0.5
"""Seconds between two acks: less is no news."""

_SPAN = 2.0
"""Seconds, about, between two readings of processor time: several acks of each client lie in between."""

_OPENED_A_SECOND = 100
"""Clients that come; what that costs is not measured."""

_MEASURED = ("edge", "nats", "vad")


async def measure(streams: int, rounds: int, seconds: float) -> list[Trial]:
    """All contenders, as often as there are rounds. Raises DeployError, StartError, LoadFailed."""
    trials = []
    for number in range(rounds):
        for contender in order(number):
            trial = await _trial(contender, streams, seconds)
            trials.append(trial)
            what = f"round {number + 1} of {rounds}, {contender}"
            print(f"{what}: {trial.edge:.1f} us at the edge", *trial.doubts, sep="; ", file=sys.stderr, flush=True)
    return trials


async def _trial(contender: Contender, streams: int, seconds: float) -> Trial:
    neighbours = OtherPrograms()
    with tempfile.TemporaryDirectory(prefix="stenobus-edge-") as name:
        record = Path(name) / "acks"
        async with deployed(Path(name), _parts(contender, record)) as system:
            load = Plan(system.url, streams, leave=True, ramp=streams / _OPENED_A_SECOND, times=True)
            async with generating(load) as clients:
                await clients.begin()
                readings = await _read(system, seconds)
                window = await clients.end()
                system.signal("edge", signal.SIGUSR1)  # only now: noting acks has its own cost
                noted = await clients.window(max(1.0, seconds / 4))
                report = await clients.finish()
        acks = read_acks(record, report.meetings, noted.began, noted.ended)
    # A server that falls behind must not look cheap: only the audio that it acknowledged counts.
    dealt_with = window.acked * 1_000 / (window.frame_ms * RATE)
    if not acks or not dealt_with:
        raise DeployError(f"{contender}: of {window.frames} frames none was acked that was timed; {report.excuse()}")
    used = {group: 1e6 * cores * window.seconds / dealt_with for group, cores in busy(readings).items()}
    for group in _MEASURED:
        if used.get(group) == 0:
            raise DeployError(f"{contender}: {group} used no time that can be told; more streams or seconds are needed")
    refused = f"{len(clients.failed)} clients could not come: {clients.failed[0]}" if clients.failed else ""
    behind = (window.samples - window.acked) / RATE / streams
    slow = f"the acks fell {behind:.1f} s behind: it does not keep up" if behind > _FELL_BEHIND else ""
    return Trial(
        contender=contender,
        edge=used["edge"],
        nats=used["nats"],
        vad=used.get("vad"),
        acks=acks,
        frames=window.frames,
        late_ms=window.late.ms(99),
        neighbours=neighbours.cores(),
        doubts=[doubt for doubt in (refused, slow, window.excuse(), report.excuse()) if doubt],
    )


def _parts(contender: Contender, record: Path) -> list[Part]:
    if contender == "naive":
        return [naive_part(record)]
    if contender == "system":
        return [edge_part(requires="vad", record=record), vad_part()]
    return [edge_part(record=record)]


async def _read(system: Deployment, seconds: float) -> list[tuple[float, Mapping[str, float]]]:
    """Processor time of each group, read again and again for so long."""
    spans = max(1, round(seconds / _SPAN))
    readings = [(monotonic(), system.cpu())]
    for _ in range(spans):
        await asyncio.sleep(seconds / spans)
        readings.append((monotonic(), system.cpu()))
    return readings
