"""The servers and the parts: started in order, each started again when it dies, stopped in reverse."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from compose.child import Child
from compose.policy import Backoff
from compose.servers import Server, StartError

PART_GRACE, SERVER_GRACE = 3.0, 1.0
"""Seconds until SIGKILL; together under the 5 s in which everything is to stop."""

CANNOT_START = 2
"""Exit status of a part whose settings are wrong; the last line that it wrote says why."""

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
        """Start it and return at once: it waits by itself for what it needs."""
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
    say: Callable[[str], None],
    backoff: Backoff = BACKOFF,
) -> None:
    """Run the system until this is cancelled; returns when all of its processes are gone.

    `ready` is called once all are started and returns when the system is of use. Until then a part that cannot start
    ends it all, later it is only started again. Raises StartError for that, and for a server that does not start.
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
