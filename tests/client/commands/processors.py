"""The processors of a replay, played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus import Bus
from contract import RATE, Replay, Replayed
from tests.edge.meeting import said


async def process(bus: Bus, asked: Replay, *texts: str) -> None:
    for index, text in enumerate(texts):
        made = said(asked.job, index, text)
        await bus.create(made.model_copy(update={"generation": asked.generation, "model": asked.options.model or "m"}))
    counted = Replayed(job=asked.job, generation=asked.generation, segments=len(texts), samples=RATE * len(texts))
    await bus.create(counted)


@asynccontextmanager
async def processors(bus: Bus, *texts: str) -> AsyncIterator[list[Replay]]:
    """Makes these texts of every replay; yields the requests."""
    asked: list[Replay] = []

    async def work() -> None:
        async for raw in bus.read("EVENTS", Replay.pattern()):
            asked.append(Replay.read(raw.subject, raw.data))
            await process(bus, asked[-1], *texts)

    working = asyncio.create_task(work())
    try:
        yield asked
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
