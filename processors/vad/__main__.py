"""Audio to speech segments: live jobs and replays, each leased by one worker at a time."""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import AsyncExitStack, suppress

import structlog

from bus import Bus, lease, run
from bus.feed import Feed
from bus.requests import announce, answering, listening
from contract import Message, Opened, Partial, Replay, Snapshot
from processors.vad.live import LiveJob
from processors.vad.replay import ReplayJob
from processors.vad.settings import Settings

log = structlog.get_logger()

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_FREE = 64 << 20
"""Bytes of free memory at the top of the heap that stay with the process."""
_FROM_HEAP = 4 << 20
"""Bytes; smaller blocks are allocated from the heap."""


_LOOK_EVERY = 2.0
"""Seconds from one look whether the job of a replay was erased to the next."""


class Worker:
    """The jobs whose leases this process has."""

    def __init__(self, bus: Bus, feed: Feed, settings: Settings) -> None:
        self._bus = bus
        self._feed = feed
        self._settings = settings
        self._jobs: dict[str, LiveJob] = {}

    async def segment(self, opened: Opened, epoch: int) -> list[Message]:
        """Segment a live job from its checkpoint to its end."""
        job = self._jobs[opened.job] = LiveJob(self._bus, self._feed, self._settings, opened, epoch)
        try:
            return await job.run()
        finally:
            if self._jobs.get(opened.job) is job:
                del self._jobs[opened.job]

    async def replay(self, replay: Replay, epoch: int) -> list[Message]:
        """Segment the stored audio of a job again, from the checkpoint of this replay; ends if the job is erased."""
        work = asyncio.create_task(ReplayJob(self._bus, self._settings, replay, epoch).run())
        withdrawn = asyncio.create_task(self._withdrawn(replay))
        try:
            await asyncio.wait([work, withdrawn], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            withdrawn.result()
            log.info("replay ends, because its job was erased", job=replay.job, generation=replay.generation)
            return []
        finally:
            work.cancel()
            withdrawn.cancel()
            await asyncio.gather(work, withdrawn, return_exceptions=True)

    async def _withdrawn(self, replay: Replay) -> None:
        """Return once the request is no longer stored, as after the erasure of its job."""
        while await self._bus.last_raw(replay.subject) is not None:  # noqa: ASYNC110 - erasure is not announced
            await asyncio.sleep(_LOOK_EVERY)

    def snapshot(self, job: str) -> bytes | None:
        """The open segment of a job as a `Snapshot`; None if this worker has none."""
        found = self._jobs.get(job)
        return None if found is None else found.snapshot()

    def on_partial(self, partial: Partial) -> None:
        """Take a hypothesis about the open segment of a job."""
        found = self._jobs.get(partial.job)
        if found is not None:
            found.on_partial(partial)


def keep_freed_memory() -> None:
    """Keep freed memory in the process; does nothing where the C library is not glibc.

    An utterance is some hundred kilobytes, copied several times on its way to the bus. By default glibc returns as
    much to the system each time, which then zeroes every page again: a twentieth of a segmenter's CPU.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
        mallopt(_M_MMAP_THRESHOLD, _FROM_HEAP)


async def main(bus: Bus, settings: Settings) -> None:
    """Lease jobs as they are opened, and replays as they are requested."""
    keep_freed_memory()
    async with AsyncExitStack() as stack:
        worker = Worker(bus, await stack.enter_async_context(Feed(bus, settings.coalesce)), settings)
        await stack.enter_async_context(answering(bus, Snapshot.pattern(), worker.snapshot))
        await stack.enter_async_context(listening(bus, Partial, "*", worker.on_partial))
        await announce(bus, "vad")
        async with asyncio.TaskGroup() as leases:
            leases.create_task(lease(bus, Opened, worker.segment, durable="vad", ack_wait=settings.ack_wait))
            # Few at a time: workers then share a backlog of replays, and live jobs are not delayed.
            leases.create_task(
                lease(
                    bus,
                    Replay,
                    worker.replay,
                    durable="vad-replay",
                    at_once=settings.replays,
                    ack_wait=settings.ack_wait,
                )
            )


if __name__ == "__main__":
    run("vad", main, Settings)
