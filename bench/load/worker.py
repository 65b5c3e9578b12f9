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
from bench.load.client import Client
from bench.load.pacer import Pacer
from bench.load.plan import Plan
from bench.load.report import Lateness, Meeting, Report
from bench.load.seat import Seat
from bench.load.sound import sounds

_CREATING = 20
"""HTTP connections that jobs are created over."""


class Worker:
    """Share `share` of the clients of a plan, and what they have done so far."""

    def __init__(self, plan: Plan, share: int, http: httpx.AsyncClient) -> None:
        self._plan = plan
        streams = range(share, plan.streams, plan.shares)
        self._pacer = Pacer(plan.frame_ms, share / plan.shares)
        self._seats = [
            Seat(plan, stream, place, sound, http, self._pacer)
            for place, (stream, sound) in enumerate(zip(streams, sounds(plan, streams), strict=True))
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def seat(self) -> str:
        """Let all come, spread over the ramp, and wait until they stream; tells how many failed, and the reasons."""
        self._tasks.append(asyncio.create_task(self._pacer.run()))
        for number, seat in enumerate(self._seats):
            self._tasks.append(asyncio.create_task(self._come(seat, self._plan.opening * number / len(self._seats))))
        for seat in self._seats:
            await seat.seated.wait()
        gc.freeze()  # what is here stays: a look at all of it would hold up every client
        failed = [seat.meetings[0].error for seat in self._seats if seat.meetings and seat.meetings[0].error]
        return json.dumps({"streams": len(self._seats), "failed": failed})

    async def _come(self, seat: Seat, after: float) -> None:
        await asyncio.sleep(after)
        await seat.run()

    def count(self) -> str:
        """What was done since the beginning, but lateness since the last count."""
        if self._tasks[0].done():
            self._tasks[0].result()  # raises: no clock, no clients
        late, self._pacer.late = self._pacer.late, Lateness()
        over: list[Client | Meeting] = [meeting for seat in self._seats for meeting in seat.meetings]
        known = [*over, *(seat.client for seat in self._seats if seat.client is not None)]
        counted: dict[str, Any] = {
            "samples": sum(one.samples for one in known),
            "acked": sum(one.acked for one in known),
            "meetings": len(over),
            "cpu": process_time(),
            "late": list(late.frames.items()),
        }
        return json.dumps(counted)

    async def finish(self) -> str:
        """Let all meetings come to their ends; tells of all of them."""
        for seat in self._seats:
            seat.finish()
        await asyncio.gather(*self._tasks[1:])
        self._tasks[0].cancel()
        return Report([meeting for seat in self._seats for meeting in seat.meetings]).encode()


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
        print(await worker.seat(), flush=True)
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
