"""The processes of clients, and what a bench asks of them."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any, Self

from bench.load.plan import Plan
from bench.load.report import Lateness, Report, Window
from tools.system import ROOT

_LINE = 1 << 30
"""Bytes of the longest line: a report of many meetings with all their times."""

_STARTED_WITHIN = 60.0
_GRACE = 5.0


class LoadFailed(Exception):
    """The clients could not do what was asked for; the message says why."""


class _Worker:
    """A process of clients; `complaints` is its stderr."""

    def __init__(self, process: Process, complaints: IO[bytes]) -> None:
        self._process = process
        self._complaints = complaints

    @classmethod
    async def spawn(cls, plan: Plan, share: int) -> Self:
        complaints = TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would stop the process; `end` closes it
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.load.worker"),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            stderr=complaints,
            limit=_LINE,
            start_new_session=True,  # Ctrl-C is for the program that started it
        )
        worker = cls(process, complaints)
        worker.tell(json.dumps({"plan": plan.encode(), "share": share}))
        return worker

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(f"{line}\n".encode())

    async def answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = await self._process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            complaint = self._complaints.read().decode(errors="replace").strip()
            raise LoadFailed(f"a process of clients has ended: {complaint or 'without a word'}")
        return line.decode()

    async def end(self) -> None:
        """The end of its stdin ends it."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_GRACE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._complaints.close()


@dataclass(frozen=True)
class _Count:
    at: float
    samples: int
    acked: int
    meetings: int
    cpu: float
    late: Lateness


class Clients:
    """Clients that stream. `failed`: why each of the others could not start."""

    def __init__(self, plan: Plan, workers: list[_Worker], failed: list[str]) -> None:
        self.plan = plan
        self.failed = failed
        self._workers = workers
        self._from: _Count | None = None

    async def begin(self) -> None:
        """A window begins now."""
        self._from = await self._count()

    async def end(self) -> Window:
        """The window ends now."""
        assert self._from is not None  # noqa: S101 - it has begun
        start, end = self._from, await self._count()
        samples = end.samples - start.samples
        return Window(
            began=start.at,
            ended=end.at,
            frames=samples // self.plan.frame_samples,
            samples=samples,
            acked=end.acked - start.acked,
            meetings=end.meetings - start.meetings,
            cores=(end.cpu - start.cpu) / (end.at - start.at),
            late=end.late,
            frame_ms=self.plan.frame_ms,
        )

    async def window(self, seconds: float) -> Window:
        """A window of so many seconds."""
        await self.begin()
        await asyncio.sleep(seconds)
        return await self.end()

    async def finish(self) -> Report:
        """All stop, and wait for the end of their jobs; what came of all of them."""
        return Report.merge([Report.decode(line) for line in await self._ask("finish")])

    async def _count(self) -> _Count:
        counted: list[dict[str, Any]] = [json.loads(line) for line in await self._ask("count")]
        total = {name: sum(part[name] for part in counted) for name in ("samples", "acked", "meetings", "cpu")}
        late = Lateness.merge(Lateness(Counter(dict(part["late"]))) for part in counted)
        return _Count(at=monotonic(), late=late, **total)

    async def _ask(self, what: str) -> list[str]:
        for worker in self._workers:
            worker.tell(what)
        return list(await asyncio.gather(*(worker.answer() for worker in self._workers)))


@asynccontextmanager
async def generating(plan: Plan) -> AsyncIterator[Clients]:
    """Clients, once all stream that could come; those that do not `finish` are gone with the block.

    Raises LoadFailed where none could come, or a process of theirs ends.
    """
    workers: list[_Worker] = []
    try:
        for share in range(plan.shares):
            workers.append(await _Worker.spawn(plan, share))  # noqa: PERF401 - each is ended even if the next fails
        yield Clients(plan, workers, await _started(plan, workers))
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


async def _started(plan: Plan, workers: list[_Worker]) -> list[str]:
    try:
        async with asyncio.timeout(plan.opening + _STARTED_WITHIN):
            lines = await asyncio.gather(*(worker.answer() for worker in workers))
    except TimeoutError as exc:
        late = f"{_STARTED_WITHIN:g} s after the last of them came"
        raise LoadFailed(f"not all of {plan.streams} clients streamed {late}") from exc
    failed = [str(reason) for line in lines for reason in json.loads(line)["failed"]]
    if len(failed) == plan.streams:
        raise LoadFailed(f"none of {plan.streams} clients could come: {failed[0]}")
    await asyncio.sleep(plan.settle)
    return failed
