"""One process of clients: `python -m bench.load.worker`, driven by lines.

Its stdin: a line of JSON, the plan and which share of the clients is its own; then `count` and `finish`, and its end
ends it. Its stdout: a line once all clients stream, an answer to each line after it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from contextlib import suppress
from time import process_time
from typing import Any

import httpx
import uvloop

from audio import AudioError
from bench.load.client import Client, Pacer, Speaker
from bench.load.plan import Plan
from bench.load.report import Lateness, Meeting, Report
from bench.load.sound import sounds

_CREATING = 20
"""HTTP connections that jobs are created over."""


class Worker:
    """Share `share` of the clients of a plan, and what they have done so far."""

    def __init__(self, plan: Plan, share: int, http: httpx.AsyncClient) -> None:
        self._plan = plan
        streams = range(share, plan.streams, plan.shares)
        self._pacer = Pacer(plan.frame_ms, share / plan.shares)
        self._speakers = [
            Speaker(plan, stream, place, sound, http, self._pacer)
            for place, (stream, sound) in enumerate(zip(streams, sounds(plan, streams), strict=True))
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> str:
        """Start all clients, spread over the ramp, and wait until they stream; returns how many failed and why."""
        self._tasks.append(asyncio.create_task(self._pacer.run()))
        for number, speaker in enumerate(self._speakers):
            self._tasks.append(
                asyncio.create_task(self._come(speaker, self._plan.opening * number / len(self._speakers)))
            )
        for speaker in self._speakers:
            await speaker.started.wait()
        gc.freeze()  # what is here stays: a look at all of it would hold up every client
        failed = [
            speaker.meetings[0].error for speaker in self._speakers if speaker.meetings and speaker.meetings[0].error
        ]
        return json.dumps({"streams": len(self._speakers), "failed": failed})

    async def _come(self, speaker: Speaker, after: float) -> None:
        await asyncio.sleep(after)
        await speaker.run()

    def count(self) -> str:
        """What was done since the beginning, but lateness since the last count."""
        if self._tasks[0].done():
            self._tasks[0].result()  # raises: no clock, no clients
        late, self._pacer.late = self._pacer.late, Lateness()
        over: list[Client | Meeting] = [meeting for speaker in self._speakers for meeting in speaker.meetings]
        known = [*over, *(speaker.client for speaker in self._speakers if speaker.client is not None)]
        counted: dict[str, Any] = {
            "samples": sum(one.samples for one in known),
            "acked": sum(one.acked for one in known),
            "meetings": len(over),
            "cpu": process_time(),
            "late": list(late.frames.items()),
        }
        return json.dumps(counted)

    async def finish(self) -> str:
        """Let all meetings end; returns the report on all of them."""
        for speaker in self._speakers:
            speaker.finish()
        await asyncio.gather(*self._tasks[1:])
        self._tasks[0].cancel()
        return Report([meeting for speaker in self._speakers for meeting in speaker.meetings]).encode()


async def run() -> None:
    """Be the process."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    asked = json.loads(await lines.readline())
    plan = Plan.decode(asked["plan"])
    limits = httpx.Limits(max_connections=_CREATING, max_keepalive_connections=_CREATING)
    # The server is on this machine, or in the next room: no proxy.
    async with httpx.AsyncClient(base_url=plan.url, limits=limits, timeout=30, trust_env=False) as http:
        worker = Worker(plan, asked["share"], http)
        print(await worker.start(), flush=True)
        while line := (await lines.readline()).strip():
            print(worker.count() if line == b"count" else await worker.finish(), flush=True)


def main() -> int:
    """Run as a process; gives the exit status."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
            runner.run(run())
    except (AudioError, OSError, ValueError) as exc:
        print(exc or type(exc).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
