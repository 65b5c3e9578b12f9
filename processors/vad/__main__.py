"""Audio to speech segments: one worker owns a job at a time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bus import Bus, lease, run
from bus.feed import Feed
from contract import Message, Opened, Partial, Replay, Snapshot
from processors.vad.heap import keep_freed_memory
from processors.vad.replay import Replaying
from processors.vad.segmentation import Segmentation
from processors.vad.settings import Settings


class Owner:
    """The jobs that this worker owns."""

    def __init__(self, bus: Bus, feed: Feed, settings: Settings) -> None:
        self._bus = bus
        self._feed = feed
        self._settings = settings
        self._jobs: dict[str, Segmentation] = {}

    async def own(self, opened: Opened, epoch: int) -> list[Message]:
        """Segment one job from where it stands to its end."""
        job = self._jobs[opened.job] = Segmentation(self._bus, self._feed, self._settings, opened, epoch)
        try:
            return await job.run()
        finally:
            if self._jobs.get(opened.job) is job:
                del self._jobs[opened.job]

    async def repeat(self, replay: Replay, epoch: int) -> list[Message]:
        """Segment the stored audio of a job once more, from where that stands."""
        return await Replaying(self._bus, self._settings, replay, epoch).run()

    def snapshot(self, job: str) -> bytes | None:
        """What is open of a job, as a `Snapshot`."""
        owned = self._jobs.get(job)
        return None if owned is None else owned.snapshot()

    def understood(self, partial: Partial) -> None:
        """Somebody has understood something of a job."""
        owned = self._jobs.get(partial.job)
        if owned is not None:
            owned.understood(partial)


async def main(bus: Bus, settings: Settings) -> None:
    """Own jobs as they are opened."""
    keep_freed_memory()
    async with AsyncExitStack() as stack:
        owner = Owner(bus, await stack.enter_async_context(Feed(bus, settings.coalesce)), settings)
        await stack.enter_async_context(bus.answering(Snapshot.pattern(), owner.snapshot))
        await stack.enter_async_context(bus.listening(Partial, "*", owner.understood))
        await bus.announce("vad")
        async with asyncio.TaskGroup() as leases:
            leases.create_task(lease(bus, Opened, owner.own, durable="vad", ack_wait=settings.ack_wait))
            # Few at a time, so that workers share a backlog of them, and what is live is not kept waiting.
            leases.create_task(
                lease(
                    bus,
                    Replay,
                    owner.repeat,
                    durable="vad-replay",
                    at_once=settings.replays,
                    ack_wait=settings.ack_wait,
                )
            )


if __name__ == "__main__":
    run("vad", main, Settings)
