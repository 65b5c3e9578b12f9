"""Interim results: what is understood of segments that are still open, while the engine has nothing better to do.

Nothing queues: a segmenter says that a segment is open and how far it has grown, and the sound itself is asked for only
when there is time to decode it, so that it is the newest, and a slow engine skips instead of falling behind.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import AsyncExitStack

import structlog

from bus import Bus
from contract import ContractError, Partial, Snapshot, Speaking
from processors.stt.agreement import agree
from processors.stt.batcher import Rank
from processors.stt.scheduler import Scheduler

log = structlog.get_logger()

_ANSWER_WITHIN = 1.0
_MOST_JOBS = 4_096
"""Jobs of which the last interim result is remembered."""


class Interim:
    """The open segments of all jobs. Of several workers each takes some; all hear what the others made of them."""

    def __init__(self, bus: Bus, scheduler: Scheduler) -> None:
        self._bus = bus
        self._scheduler = scheduler
        self._open: OrderedDict[str, Speaking] = OrderedDict()
        self._any = asyncio.Event()
        self._told: OrderedDict[str, Partial] = OrderedDict()
        self._made: dict[str, tuple[int, asyncio.Task[None]]] = {}  # by job: index, and who is at work on it

    async def run(self) -> None:
        """Make interim results until cancelled."""
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._bus.listening(Speaking, "*", self._on_speaking, queue="stt"))
                await stack.enter_async_context(self._bus.listening(Partial, "*", self._on_partial))
                while True:
                    await self._any.wait()
                    await self._scheduler.idle()
                    self._begin()
                    await asyncio.sleep(0)
        finally:
            for _, task in self._made.values():
                task.cancel()

    def close_segment(self, job: str, index: int) -> None:
        """A segment has ended: nothing more is made of it."""
        speaking = self._open.get(job)
        if speaking is not None and speaking.index <= index:
            del self._open[job]
        told = self._told.get(job)
        if told is not None and told.index <= index:
            del self._told[job]
        made = self._made.get(job)
        if made is not None and made[0] <= index:
            made[1].cancel()
        self._note()

    def _on_speaking(self, speaking: Speaking) -> None:
        if speaking.partials:
            self._open[speaking.job] = speaking
            self._note()

    def _on_partial(self, partial: Partial) -> None:
        told = self._told.get(partial.job)
        if told is None or (told.index, told.end) < (partial.index, partial.end):
            self._told[partial.job] = partial
            self._told.move_to_end(partial.job)
            if len(self._told) > _MOST_JOBS:
                self._told.popitem(last=False)

    def _note(self) -> None:
        """Wake up where there is something to begin: one at a time of each job, and no more than a batch."""
        if len(self._made) < self._scheduler.batch_size and any(job not in self._made for job in self._open):
            self._any.set()
        else:
            self._any.clear()

    def _begin(self) -> None:
        job = next((job for job in self._open if job not in self._made), None)
        if job is not None:
            speaking = self._open.pop(job)
            task = asyncio.create_task(self._make(speaking))
            self._made[job] = speaking.index, task
            task.add_done_callback(lambda _: self._end(job))  # a task that is cancelled at once runs no `finally`
        self._note()

    def _end(self, job: str) -> None:
        del self._made[job]
        self._note()

    async def _make(self, speaking: Speaking) -> None:
        try:
            answer = await self._bus.ask(Snapshot.pattern(speaking.job), _ANSWER_WITHIN)
            if answer is None:
                return  # the segment has ended, or its owner is gone
            snapshot = Snapshot.decode(answer)
            heard = await self._scheduler.transcribe(snapshot.pcm, snapshot.options, Rank.PARTIAL, draft=True)
            if heard.text:
                said = Partial(
                    job=snapshot.job,
                    index=snapshot.index,
                    start=snapshot.start,
                    end=snapshot.end,
                    text=heard.text,
                    language=heard.language,
                )
                told = self._told.get(said.job)
                if not _is_older(said, told):
                    await self._bus.publish(agree(told, said))
        except ContractError as exc:
            log.warning("snapshot not understood", job=speaking.job, reason=str(exc))
        except Exception as exc:  # the final will show whether the sound is at fault
            log.warning("no interim result", job=speaking.job, error=repr(exc), exc_info=True)


def _is_older(said: Partial, told: Partial | None) -> bool:
    """Whether another worker was faster, so that this would go back behind what has been told of the segment."""
    return told is not None and told.index == said.index and told.end >= said.end
