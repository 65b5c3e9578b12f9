"""Ours as a whole beside a server without a bus: from the end of speech to the final, as streams become more."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil

from bench.deployment import deployed, inprocess_part
from bench.load import LoadFailed, Plan, Report, Window, generating
from bench.stt.figures import percentile
from bench.timeline import Endpointing
from contract import RATE
from tools.system import ROOT, running_system


@dataclass
class Search:
    """From `start` on it doubles until streams are not held any more, then halves the gap until that is a tenth.

    A number that was not held is tried once more before that is believed: a moment's disturbance would end it all.
    """

    start: int
    most: int
    """Streams that are tried at most."""
    low: int = field(default=0, init=False)
    """The most that were held; 0: none yet."""
    high: int = field(default=0, init=False)
    """The fewest that were not; 0: none yet."""
    _doubted: int = field(default=0, init=False)

    @property
    def due(self) -> int | None:
        """The streams to try next; None: it is known."""
        if self._doubted:
            return self._doubted
        if not self.high:
            return None if self.low >= self.most else min(self.most, 2 * self.low or self.start)
        if self.high - self.low <= max(1, self.low // 10):
            return None
        return (self.low + self.high) // 2

    def tell(self, *, held: bool) -> None:
        """Say what came of those that were due. Raises ValueError where none were."""
        streams = self.due
        if streams is None:
            raise ValueError(f"it is known already: {self.low} streams")
        if held:
            self.low, self._doubted = streams, 0
        elif self._doubted:
            self.high, self._doubted = streams, 0
        else:
            self._doubted = streams


Kind = Literal["stenobus", "inprocess"]

TITLES: dict[Kind, str] = {"stenobus": "Stenobus", "inprocess": "in process"}

_ENDPOINTING = Endpointing()

_OPTIONS = {"partials": False, "summary": False, "vad": asdict(_ENDPOINTING)}
"""Of each job. The other contender has neither interim results nor summaries."""


@dataclass(frozen=True)
class SystemPlan:
    """What is run. Seconds."""

    model: str
    rounds: int
    start: int = 8
    most: int = 1_000
    bound: float = 2.0
    """The p95 that streams are held up to."""
    window: float = 22.0
    ramp: float = 4.0
    seed: int = 1


@dataclass(frozen=True)
class Probe:
    """What came of so many streams. latencies: seconds from the end of speech to the final."""

    kind: Kind
    streams: int
    latencies: Sequence[float]
    busy: float
    """Share of all cores of the machine, with whatever else ran on it."""
    complaint: str = ""
    """What went wrong, if not all clients were served."""
    doubt: str = ""
    """Why the figures are not what they seem."""

    def ms(self, q: float) -> float | None:
        """A percentile in milliseconds."""
        return 1_000 * percentile(self.latencies, q) if self.latencies else None

    def held(self, bound: float) -> bool:
        """Whether the p95 is within the bound, in seconds, and all were served."""
        p95 = self.ms(95)
        return not self.complaint and p95 is not None and p95 <= 1_000 * bound


@dataclass
class Compared:
    """All probes, and the streams that each held, by rounds."""

    probes: list[Probe] = field(default_factory=list)
    held: dict[Kind, list[int]] = field(default_factory=lambda: {kind: [] for kind in TITLES})

    def streams(self, kind: Kind) -> float:
        """Median over the rounds."""
        return median(self.held[kind])


def final_latencies(report: Report, window: Window) -> list[float]:
    """Seconds from the end of speech to the final, for speech that ended in the window."""
    found = []
    for meeting in report.meetings:
        for told in meeting.told:
            spoken = told.end - _ENDPOINTING.padding_ms * RATE // 1_000
            if spoken < 1 or spoken > meeting.samples:
                continue
            ended = meeting.handed_with(spoken)
            if window.began <= ended < window.ended:
                found.append(told.at - ended)
    return found


class Host:
    """A contender's server: started when it is needed, and again after a failure."""

    def __init__(self, kind: Kind, model: str) -> None:
        self._kind = kind
        self._model = model
        self._stack = AsyncExitStack()
        self._url = ""

    async def url(self) -> str:
        """Where it is; raises SystemFailed or DeployError where it cannot be started."""
        if self._url:
            return self._url
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stenobus-scale-")))
        if self._kind == "stenobus":
            ours = await self._stack.enter_async_context(running_system(folder, root=ROOT, STT_MODEL=self._model))
            self._url = ours.url
        else:
            other = await self._stack.enter_async_context(deployed(folder, [inprocess_part(self._model)]))
            self._url = other.url
        return self._url

    async def stop(self) -> None:
        """What it had left to do is given up."""
        stack, self._stack, self._url = self._stack, AsyncExitStack(), ""
        await stack.aclose()


async def compare(plan: SystemPlan) -> Compared:
    """Search for both in turn, so that whatever disturbs meets both."""
    compared = Compared()
    hosts: dict[Kind, Host] = {kind: Host(kind, plan.model) for kind in TITLES}
    try:
        for _ in range(plan.rounds):
            searches = {kind: Search(_start(compared.held[kind], plan), plan.most) for kind in TITLES}
            while any(search.due is not None for search in searches.values()):
                for kind, search in searches.items():
                    if (streams := search.due) is not None:
                        probe = await _probe(kind, hosts[kind], streams, plan)
                        compared.probes.append(probe)
                        search.tell(held=probe.held(plan.bound))
            for kind, search in searches.items():
                compared.held[kind].append(search.low)
    finally:
        for host in hosts.values():
            await host.stop()
    return compared


def _start(held: Sequence[int], plan: SystemPlan) -> int:
    """Later rounds begin nearer to what is known."""
    return max(1, held[-1] // 2) if held and held[-1] else plan.start


async def _probe(kind: Kind, host: Host, streams: int, plan: SystemPlan) -> Probe:
    load = Plan(
        await host.url(),
        streams,
        options=_OPTIONS,
        ramp=plan.ramp,
        settle=plan.ramp / 2,
        talk=plan.ramp + plan.window + 4.0,
        times=True,
        seed=plan.seed,
    )
    latencies: list[float] = []
    busy, doubt = 0.0, ""
    try:
        async with generating(load) as clients:
            psutil.cpu_percent()  # the next call covers the time since this one
            window = await clients.window(plan.window)
            busy = psutil.cpu_percent() / 100
            report = await clients.finish()
        latencies = final_latencies(report, window)
        complaint, doubt = next(filter(None, [*clients.failed, report.excuse()]), ""), window.excuse()
    except LoadFailed as exc:
        complaint = str(exc)
    if not latencies and not complaint:
        complaint = "there was no final of what was said in the window"
    probe = Probe(kind, streams, latencies, busy, complaint, doubt)
    said = [*(f"p95 {ms:.0f} ms" for ms in [probe.ms(95)] if ms is not None), *filter(None, [complaint, doubt])]
    print(f"{TITLES[kind]}, {streams} streams: {'; '.join(said)}", file=sys.stderr, flush=True)
    if complaint:
        await host.stop()
    return probe


def table(compared: Compared) -> str:
    """Lay the probes out for a person; of several with the same streams each has its line."""
    lines = [f"{'streams':>7}  {'':12}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'finals':>8}{'machine busy':>14}"]
    for probe in sorted(compared.probes, key=lambda probe: (probe.streams, probe.kind != "stenobus")):
        figures = "".join(f"{'-' if (ms := probe.ms(q)) is None else f'{ms:.0f}':>9}" for q in (50, 95, 100))
        row = f"{probe.streams:7}  {TITLES[probe.kind]:12}{figures}{len(probe.latencies):8}{probe.busy:14.0%}"
        lines.append("  ".join(filter(None, [row, probe.complaint, probe.doubt])))
    return "\n".join(lines)


def summary(compared: Compared, bound: float) -> dict[str, Any]:
    """The figures that others compare."""
    ours, other = compared.streams("stenobus"), compared.streams("inprocess")
    return {
        f"streams_p95_{bound:g}s": ours,
        f"streams_p95_{bound:g}s_inprocess": other,
        "streams_ratio": round(ours / other, 2) if other else None,
        "streams_tried_at_most": max((probe.streams for probe in compared.probes), default=0),
        "system": [
            {
                "contender": probe.kind,
                "streams": probe.streams,
                **{f"p{q}_ms": None if (ms := probe.ms(q)) is None else round(ms, 1) for q in (50, 95)},
                "finals": len(probe.latencies),
                "machine_busy": round(probe.busy, 2),
                "complaint": probe.complaint,
                "doubt": probe.doubt,
            }
            for probe in compared.probes
        ],
    }
