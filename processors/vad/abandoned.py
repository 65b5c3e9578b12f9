"""Jobs that nobody will end: their edge died, and their client did not come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import NamedTuple

import structlog

from bus import Bus, Conflict
from contract import Closed
from contract.audio import AudioFrame, audio_subject, encode_audio

log = structlog.get_logger()

_LOOK_EVERY = 1.0
_REASON_COMES_WITHIN = 3.0


class Heard(NamedTuple):
    """How far a job's audio was read: the next sample, the last message, and when that was (event loop's clock)."""

    expected: int
    seq: int
    at: float


async def end_when_abandoned(bus: Bus, job: str, silence: float, heard: Callable[[], Heard]) -> None:
    """End a job's audio once it has been silent for `silence` seconds and no edge says that it has a connection of it.

    The mark is stored only if nothing has come since: either an edge that is slow to answer is too late, or we are.
    """
    clock = asyncio.get_running_loop().time
    since = clock()

    def begin_again() -> None:
        nonlocal since
        since = clock()

    # While the bus was away there was no audio to hear, and its edge may be slower than we are to come back.
    bus.reconnected.add(begin_again)
    try:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            now = heard()
            silent = clock() - max(now.at, since) >= silence and bus.nc.is_connected
            if silent and not await bus.answered(f"live.{job}.holder"):
                mark = encode_audio(AudioFrame(now.expected, b"", last=True))
                with suppress(Conflict):
                    await bus.store(audio_subject(job), mark, after=now.seq)
                    log.warning("job abandoned", job=job, samples=now.expected)
                    return
    finally:
        bus.reconnected.discard(begin_again)


async def ensure_closed(bus: Bus, job: str, samples: int) -> None:
    """See that a job whose audio has ended is closed, which its edge does if it lives to do it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REASON_COMES_WITHIN), aclosing(bus.read("EVENTS", Closed.pattern(job))) as stored:
            await anext(stored)
            return
    await bus.create(Closed(job=job, samples=samples, reason="abandoned"))
