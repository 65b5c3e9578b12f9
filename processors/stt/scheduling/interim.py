"""Interim results: text of segments that are still open, made while the engine has nothing more urgent to do.

Nothing queues up: a segmenter announces that a segment is open and how far it has grown, and its audio is requested
only when there is time to decode it. So a slow engine makes fewer interim results and never falls behind.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import structlog

from bus import Bus
from bus.requests import ask, listening
from bus.supervisor import Supervisor
from contract import ContractError, Partial, Snapshot, Speaking
from processors.stt.core import local_agreement
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.sound import sound_of

log = structlog.get_logger()

_ANSWER_WITHIN = 1.0
_MAX_JOBS = 4_096
"""Jobs whose last interim result is remembered."""


class InterimTranscriber:
    """Makes interim results of all jobs. Workers share the open segments; each sees what the others publish."""

    def __init__(self, bus: Bus, scheduler: Scheduler) -> None:
        self._bus = bus
        self._scheduler = scheduler
        self._open: OrderedDict[str, Speaking] = OrderedDict()
        self._can_start = asyncio.Event()
        self._published: OrderedDict[str, Partial] = OrderedDict()
        self._running: dict[str, tuple[int, asyncio.Task[None]]] = {}
        """By job: the index of the segment, and the task that transcribes it."""

    async def run(self) -> None:
        """Make interim results until cancelled. An unforeseen error in one of them is raised here."""
        async with (
            listening(self._bus, Speaking, "*", self._on_speaking, queue="stt"),
            listening(self._bus, Partial, "*", self._on_partial),
            Supervisor() as tasks,
        ):
            while True:
                await self._can_start.wait()
                await self._scheduler.wait_free(Priority.PARTIAL)
                self._start_next(tasks)
                await asyncio.sleep(0)  # the new task asks for its audio before the next one starts

    def close_segment(self, job: str, index: int) -> None:
        """Drop a segment that has ended, and older ones: their final transcript comes next."""
        speaking = self._open.get(job)
        if speaking is not None and speaking.index <= index:
            del self._open[job]
        published = self._published.get(job)
        if published is not None and published.index <= index:
            del self._published[job]
        running = self._running.get(job)
        if running is not None and running[0] <= index:
            running[1].cancel()
        self._update()

    def _on_speaking(self, speaking: Speaking) -> None:
        if speaking.partials:
            self._open[speaking.job] = speaking
            self._update()

    def _on_partial(self, partial: Partial) -> None:
        last = self._published.get(partial.job)
        if last is None or (last.index, last.end) < (partial.index, partial.end):
            self._published[partial.job] = partial
            self._published.move_to_end(partial.job)
            if len(self._published) > _MAX_JOBS:
                self._published.popitem(last=False)

    def _update(self) -> None:
        """Let the next segment start if there is one: at most one for each job, and no more than fit into a batch."""
        if len(self._running) < self._scheduler.batch_size and any(job not in self._running for job in self._open):
            self._can_start.set()
        else:
            self._can_start.clear()

    def _start_next(self, tasks: Supervisor) -> None:
        job = next((job for job in self._open if job not in self._running), None)
        if job is not None:
            speaking = self._open.pop(job)
            task = tasks.start(self._make(speaking))
            self._running[job] = speaking.index, task
            # Not a `finally` in the task: a task that is cancelled before its first step never gets there.
            task.add_done_callback(lambda _: self._end(job))
        self._update()

    def _end(self, job: str) -> None:
        del self._running[job]
        self._update()

    async def _make(self, speaking: Speaking) -> None:
        """Fetch the audio of an open segment, transcribe it, and publish the text."""
        answer = await ask(self._bus, Snapshot.pattern(speaking.job), _ANSWER_WITHIN)
        if answer is None:
            return  # the segment has ended, or its segmenter is gone
        try:
            snapshot = Snapshot.decode(answer)
        except ContractError as exc:
            log.warning("snapshot not understood", job=speaking.job, reason=str(exc))
            return
        try:
            sound = await sound_of(self._bus, [snapshot], self._scheduler.engine)
            result = await self._scheduler.transcribe(
                sound.pcm, snapshot.options, Priority.PARTIAL, parts=sound.parts, interim=True
            )
        except Exception as exc:  # whatever the engine raises; the final transcript will report it
            log.warning("no interim result", job=speaking.job, error=repr(exc), exc_info=True)
            return
        if not result.text:
            return
        partial = Partial(
            job=snapshot.job,
            index=snapshot.index,
            start=snapshot.start,
            end=snapshot.end,
            text=result.text,
            language=result.language,
        )
        last = self._published.get(partial.job)
        if not _is_stale(partial, last):
            await self._bus.publish(local_agreement(last, partial))


def _is_stale(partial: Partial, last: Partial | None) -> bool:
    """Whether another worker has already published as much or more of this segment."""
    return last is not None and last.index == partial.index and last.end >= partial.end
