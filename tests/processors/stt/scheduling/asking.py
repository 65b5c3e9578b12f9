"""Requests to a scheduler, and waiting until they are where a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from contract import SpeechOptions
from processors.stt.core import DecodeResult
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from tests.processors.stt.engines import Gated
from tests.support import wait_until

Start = Callable[..., Scheduler]
"""Makes a scheduler for an engine; see the fixture `start`."""


def ask(scheduler: Scheduler, samples: int, priority: Priority = Priority.LIVE) -> asyncio.Task[DecodeResult]:
    return ask_pcm(scheduler, bytes(2 * samples), priority)


def ask_pcm(
    scheduler: Scheduler, pcm: bytes, priority: Priority = Priority.LIVE, **options: str
) -> asyncio.Task[DecodeResult]:
    return asyncio.create_task(scheduler.transcribe(pcm, SpeechOptions.model_validate(options), priority))


async def ask_behind(
    scheduler: Scheduler, engine: Gated, *samples: int, priority: Priority = Priority.LIVE
) -> list[asyncio.Task[DecodeResult]]:
    """Request utterances that have to wait, in this order."""
    return [await queued(engine, ask(scheduler, count, priority)) for count in samples]


async def queued(engine: Gated, task: asyncio.Task[DecodeResult]) -> asyncio.Task[DecodeResult]:
    before = engine.queued
    await wait_until(lambda: engine.queued > before, description="it waits")
    return task


async def busy(scheduler: Scheduler, engine: Gated, samples: int = 1) -> asyncio.Task[DecodeResult]:
    """Keep a worker of the engine busy."""
    before = engine.begun
    task = ask(scheduler, samples)
    await wait_until(lambda: engine.begun > before, description="the engine is at work")
    return task


async def texts(tasks: Sequence[asyncio.Task[DecodeResult]]) -> list[str]:
    return [one.text for one in await asyncio.gather(*tasks)]


async def ask_waiting(scheduler: Scheduler, samples: int, priority: Priority) -> asyncio.Task[DecodeResult]:
    """Request an utterance whose batch starts at once, but has to wait for its turn."""
    before = scheduler._turns.waiting
    task = ask(scheduler, samples, priority)
    await wait_until(lambda: scheduler._turns.waiting > before, description="it waits for a turn")
    return task
