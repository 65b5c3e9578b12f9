"""Servers and chosen parts of the system as processes of their own, and what each of them costs.

edge, vad = edge_part(), vad_part()
async with deployed(folder, [edge, vad]) as system:
    before = system.usage()
    ...
    for name, cost in system.usage().since(before).items(): ...
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import clock_gettime, monotonic

import httpx
import psutil

from compose.child import Child
from compose.ports import free_port
from compose.servers import Server, nats_server, redis_server
from tools.system import ROOT

READY_WITHIN = 60.0
_GRACE = 5.0


class DeployError(Exception):
    """A part did not start, or has died; the message says which, with the end of its log."""


@dataclass(frozen=True)
class Part:
    """A process. `group`: under which name its cost is counted; several parts may share one."""

    name: str
    argv: Sequence[str]
    """Behind `python`; `{port}` is a free port, `{nats}` and `{redis}` are the servers' URLs."""
    env: Mapping[str, str] = field(default_factory=dict)
    """As argv; NATS_URL and STORE_URL are set."""
    group: str = ""
    serves: bool = False
    """It is what clients talk to: it listens on `{port}` and answers `/readyz`."""

    @property
    def counted_as(self) -> str:
        """The name of its group."""
        return self.group or self.name


@dataclass(frozen=True)
class Cost:
    """Of one group. cpu: seconds, user and system; kilobytes: proportional set size where the system has that."""

    cpu: float
    kilobytes: float


class Usage(dict[str, Cost]):
    """Cost by group: `nats`, `redis`, and those of the parts."""

    def since(self, before: Mapping[str, Cost]) -> Usage:
        """What came on top."""
        return Usage(
            {
                name: Cost(cost.cpu - before[name].cpu, cost.kilobytes - before[name].kilobytes)
                for name, cost in self.items()
            }
        )


class Deployment:
    """What runs. url: of the part that clients talk to."""

    def __init__(self, url: str, folder: Path, nats: Server, redis: Server) -> None:
        self.url = url
        self.folder = folder
        self.nats = nats
        self.redis = redis
        self.children: dict[str, Child] = {}
        self._groups: dict[str, list[psutil.Process]] = {}

    @property
    def bus_url(self) -> str:
        """Where the bus listens."""
        return self.nats.url

    def count(self, group: str, pid: int) -> None:
        """From now on this process counts for a group."""
        self._groups.setdefault(group, []).append(psutil.Process(pid))

    def usage(self) -> Usage:
        """What each group has cost since it was started, and its memory now. Raises DeployError where one has died."""
        self.check()
        return Usage({name: Cost(cpu_seconds(group), kilobytes(group)) for name, group in self._groups.items()})

    def cpu(self) -> Mapping[str, float]:
        """Seconds of each group alone: unlike memory they are read in no time. Raises DeployError."""
        self.check()
        return {name: cpu_seconds(group) for name, group in self._groups.items()}

    def check(self) -> None:
        """Raise DeployError where something has died."""
        for name, child in self.children.items():
            if child.returncode is not None:
                raise DeployError(f"{name} has ended with {child.returncode}:\n{child.tail()}")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part."""
        with suppress(ProcessLookupError):
            os.kill(self.children[name].pid, number)


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """User and system time in seconds: to the nanosecond on Linux, else in steps of 10 ms."""
    if sys.platform == "linux":
        return sum(clock_gettime(_cpu_clock(process.pid)) for process in processes)
    times = [process.cpu_times() for process in processes]
    return sum(time.user + time.system for time in times)


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid(3) gives on Linux; Python has that for threads alone."""
    return ~pid << 3 | 2


def kilobytes(processes: Sequence[psutil.Process]) -> float:
    """Memory now in kilobytes: shared pages count in proportion, where the system has that."""
    infos = [process.memory_full_info() for process in processes]
    return sum(float(getattr(info, "pss", info.rss)) for info in infos) / 1024


@asynccontextmanager
async def deployed(folder: Path, parts: Sequence[Part]) -> AsyncIterator[Deployment]:
    """Start nats-server, redis-server and parts; exactly one of them `serves`. Raises DeployError, StartError."""
    (serving,) = (part for part in parts if part.serves)
    nats, redis, port = nats_server(folder / "nats"), redis_server(folder / "redis"), free_port()
    system = Deployment(f"http://127.0.0.1:{port}", folder, nats, redis)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_stop, system)
        for group, server in (("nats", nats), ("redis", redis)):
            child = system.children[group] = await server.start()
            system.count(group, child.pid)
        places = {"port": str(port), "nats": nats.url, "redis": redis.url}
        for part in parts:
            child = system.children[part.name] = await _start(part, folder, places)
            system.count(part.counted_as, child.pid)
        await _until_ready(system, serving)
        yield system


async def _start(part: Part, folder: Path, places: Mapping[str, str]) -> Child:
    env = {"NATS_URL": places["nats"], "STORE_URL": places["redis"], "LOG_LEVEL": "WARNING"}
    env |= {name: value.format(**places) for name, value in part.env.items()}
    argv = [sys.executable, *(argument.format(**places) for argument in part.argv)]
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return await Child.spawn(argv, folder / f"{part.name}.log", env=os.environ | env)


async def _until_ready(system: Deployment, serving: Part) -> None:
    answer = "nothing"
    try:
        async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient(trust_env=False) as http:
            while True:
                system.check()
                with suppress(httpx.TransportError):
                    found = await http.get(f"{system.url}/readyz")
                    if found.status_code == 200:
                        return
                    answer = found.text
                await asyncio.sleep(0.05)
    except TimeoutError as exc:
        tail = system.children[serving.name].tail()
        raise DeployError(f"{serving.name} was not ready within {READY_WITHIN:g} s, it said {answer}\n{tail}") from exc


async def _stop(system: Deployment) -> None:
    servers = {"nats", "redis"}
    await asyncio.gather(*(child.stop(_GRACE) for name, child in system.children.items() if name not in servers))
    await asyncio.gather(*(system.children[name].stop(_GRACE) for name in servers & system.children.keys()))


def edge_part(*, requires: str = "", record: Path | None = None, **env: str) -> Part:
    """The edge that clients talk to.

    requires: kinds of workers it waits for. record: where watermarks from SIGUSR1 on are written when it stops, see
    `bench.recording`. env: further settings.
    """
    module = ["-m", "edge"] if record is None else ["-m", "bench.recording", str(record)]
    settings = {"EDGE_PORT": "{port}", "EDGE_REQUIRES": requires, "EDGE_CONNECTIONS": "100000"}
    return Part("edge", module, settings | env, serves=True)


def vad_part(name: str = "vad", **env: str) -> Part:
    """A segmenter; all of them count as `vad`."""
    return Part(name, ["-m", "processors.vad"], env, group="vad")


def stt_part(model: str, name: str = "stt", **env: str) -> Part:
    """A speech worker; all of them count as `stt`."""
    return Part(name, ["-m", "processors.stt"], {"STT_MODEL": model} | env, group="stt")


def summary_part(**env: str) -> Part:
    """The part that ends jobs."""
    return Part("summary", ["-m", "processors.summary"], env)


def naive_part(record: Path | None = None) -> Part:
    """The edge of `bench.contenders.naive`, as `edge`; record: as that of `edge_part`."""
    module = ["-m", "bench.contenders.naive", "--port", "{port}", "--nats", "{nats}"]
    return Part("edge", [*module, *([] if record is None else ["--record", str(record)])], serves=True)


def inprocess_part(model: str) -> Part:
    """The server of `bench.contenders.inprocess`, as `edge`."""
    return Part("edge", ["-m", "bench.contenders.inprocess", "--port", "{port}", "--model", model], serves=True)


class OtherPrograms:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._began = monotonic(), _busy(), _own()

    def cores(self) -> float:
        """Cores that others kept busy since, on average; children of ours that have not been waited for are others."""
        began, busy, own = self._began
        others = (_busy() - busy) - (_own() - own)
        return max(0.0, others / (monotonic() - began))


def _busy() -> float:
    times = psutil.cpu_times()
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # is in user, too
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - guest


def _own() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system
