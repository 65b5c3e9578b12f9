"""The servers and the parts: started in order, each started again when it dies, stopped in reverse."""

from __future__ import annotations

import asyncio
import http.client
import json
import pkgutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from compose.child import Child
from compose.gpus import SPEECH
from compose.ports import LOOPBACK
from compose.servers import Server, StartError

EDGE = "edge"

PART_GRACE, SERVER_GRACE = 3.0, 1.0
"""Seconds until SIGKILL; together under the 5 s in which everything is to stop."""

CANNOT_START = 2
"""Exit status of a part whose settings are wrong; the last line that it wrote says why."""


class Process(NamedTuple):
    """A process to start: its module, and what its environment has that others' has not."""

    module: str
    env: Mapping[str, str] = {}


def processes(modules: Sequence[str], workers: int, gpus: int = 0) -> dict[str, Process]:
    """Return the processes by name: one of each module, but `workers` of the edge, and a speech worker for each GPU."""
    found = {module: Process(module) for module in modules}
    found |= {f"{EDGE}-{number}": Process(EDGE) for number in range(2, workers + 1)}
    if SPEECH in found and gpus > 1:
        for index in range(gpus):
            name = SPEECH if index == 0 else f"{SPEECH}-{index + 1}"
            found[name] = Process(SPEECH, {"STT_DEVICE_INDEX": str(index)})
    return found


def discover(root: Path) -> list[str]:
    """Return what `python -m` starts: the edge, and each package below `root`/processors that has a `__main__.py`.

    Nothing is imported, so that what a part needs is looked for only in its own process.
    """
    processors = root / "processors"
    found = sorted(module.name for module in pkgutil.iter_modules([str(processors)]) if module.ispkg)
    return [EDGE, *(f"processors.{name}" for name in found if (processors / name / "__main__.py").is_file())]


@dataclass(frozen=True)
class Backoff:
    """Pauses before a process that died is started again, in seconds: they double until a run was long enough."""

    first: float = 0.25
    longest: float = 30.0
    healthy: float = 60.0
    """A run as long as this clears what went before it."""

    def failures(self, before: int, ran: float) -> int:
        """Failures in a row, counting a run that has just ended after `ran` seconds."""
        return 1 if ran >= self.healthy else before + 1

    def pause(self, failures: int) -> float:
        """Time to wait after so many failures in a row (at least 1)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))


BACKOFF = Backoff()


@dataclass
class Part:
    """One process of a part: `python -m MODULE`, or NAME where there is none, with `env` as its whole environment."""

    name: str
    log: Path
    env: Mapping[str, str]
    module: str = ""
    child: Child | None = None

    async def start(self) -> Child:
        """Start it and return at once; it waits for the servers by itself."""
        # -P: the folder that one happens to stand in must not shadow the system's own.
        self.child = await Child.spawn(
            [sys.executable, "-u", "-P", "-m", self.module or self.name], self.log, env=self.env
        )
        return self.child

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds; returns when it is gone."""
        if self.child:
            await self.child.stop(grace)


async def run(
    servers: Sequence[Server],
    parts: Sequence[Part],
    *,
    ready: Callable[[], Awaitable[None]],
    watch: Callable[[], Awaitable[None]] | None = None,
    say: Callable[[str], None],
    backoff: Backoff = BACKOFF,
) -> None:
    """Run the system until this is cancelled; returns when all of its processes are gone.

    `ready` is called once all are started and returns when the system is of use; `watch` runs from then on. Until then
    a part that cannot start ends it all, later it is only started again. Raises StartError for that, and for a server
    that does not start.
    """
    is_ready = asyncio.Event()
    keep_running = partial(_keep_running, is_ready=is_ready, say=say, backoff=backoff)
    try:
        async with asyncio.TaskGroup() as group:
            starts = [(server, group.create_task(server.start())) for server in servers]
        async with asyncio.TaskGroup() as group:
            for server, start in starts:
                group.create_task(keep_running(server, start.result()))
            for part in parts:
                group.create_task(keep_running(part, await part.start()))
            await ready()
            is_ready.set()
            if watch is not None:
                await watch()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await asyncio.gather(*(part.stop(PART_GRACE) for part in parts))
        await asyncio.gather(*(server.stop(SERVER_GRACE) for server in servers))


async def _keep_running(
    unit: Server | Part, child: Child, *, is_ready: asyncio.Event, say: Callable[[str], None], backoff: Backoff
) -> NoReturn:
    """Start `unit`, which runs as `child` now, again whenever it ends."""
    clock = asyncio.get_running_loop().time
    failures, began = 0, clock()
    while True:
        status = await child.wait()
        last = child.tail(1)
        if isinstance(unit, Part) and status == CANNOT_START and not is_ready.is_set():
            raise StartError(f"{unit.name}: {last or 'cannot start, and did not say why'}")
        failures = backoff.failures(failures, clock() - began)
        pause = backoff.pause(failures)
        say(f"{unit.name} {_ended(status)}, starts again in {pause:g} s; last in {unit.log}: {last}")
        await asyncio.sleep(pause)
        began = clock()
        try:
            child = await unit.start()
        except (StartError, OSError) as exc:
            say(str(exc))  # the old child stays, dead: one more failure


def _ended(status: int) -> str:
    return f"ended with status {status}" if status >= 0 else f"was ended by a signal ({signal.strsignal(-status)})"


EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104
"""Addresses one listens on, and the ones to reach them by."""


async def wait_ready(host: str, port: int, say: Callable[[str], None], every: float = 5.0) -> None:
    """Return when `GET /readyz` is 200; until then `say` what is missing, every so many seconds."""
    clock = asyncio.get_running_loop().time
    due = clock() + every
    while True:
        status, answer = await ask_readiness(host, port)
        if status == http.client.OK:
            return
        if clock() >= due:
            due = clock() + every
            say(f"not ready yet: {missing(answer)}")
        await asyncio.sleep(0.1)


async def ask_readiness(host: str, port: int) -> tuple[int, str]:
    """Status and text of `GET /readyz` at an edge that listens here; 0 and a reason if it does not answer."""
    return await asyncio.to_thread(_get, EVERYWHERE.get(host, host), port)


def missing(answer: str) -> str:
    """Return in words what /readyz misses, from `{"checks": {NAME: "ok" or what is wrong}}`; else the answer itself."""
    try:
        checks = json.loads(answer)["checks"]
        return ", ".join(f"{name} ({state})" for name, state in checks.items() if state != "ok")
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer


def _get(host: str, port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=2)  # unlike urllib it never asks a proxy
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read(2_000).decode(errors="replace").strip()
        return response.status, text or f"HTTP {response.status}"
    except (OSError, http.client.HTTPException) as exc:
        return 0, f"the edge does not answer ({exc})"
    finally:
        connection.close()
