"""Interim results: text of segments that are still open, made while the engine has nothing more urgent to do.

Nothing queues up: a segmenter announces that a segment is open and how far it has grown, and its audio is requested
only when there is time to decode it. So a slow engine makes fewer interim results and never falls behind.

Once nothing more can belong to a segment unless somebody goes on speaking, its final is decoded ahead, and its text is
the interim result.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict

import structlog

from bus import Bus
from bus.requests import ask, listening
from bus.supervisor import Supervisor
from contract import WIDTH, ContractError, Partial, Snapshot, Speaking
from processors.stt.core import DecodeResult, local_agreement
from processors.stt.scheduling.ahead import Ahead
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.sound import sound_of

log = structlog.get_logger()

_ANSWER_WITHIN = 1.0
_MAX_JOBS = 4_096
"""Jobs whose last interim result is remembered."""


class InterimTranscriber:
    """Makes interim results of all jobs. Workers share the open segments; each sees what the others publish."""

    def __init__(self, bus: Bus, scheduler: Scheduler, ahead: Ahead) -> None:
        self._bus = bus
        self._scheduler = scheduler
        self._ahead = ahead
        self._open: OrderedDict[str, Speaking] = OrderedDict()
        self._can_start = asyncio.Event()
        self._spoken_at = -math.inf
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
        """Drop a segment that has ended, and older ones: their final transcript comes next.

        Only what is decoded ahead goes on, because that is the final.
        """
        self._ahead.close_segment(job, index)
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

    async def wait_quiet(self, seconds: float) -> None:
        """Return once nobody has spoken for so long, as far as this worker knows."""
        clock = asyncio.get_running_loop().time
        while (left := self._spoken_at + seconds - clock()) > 0:  # noqa: ASYNC110 - silence sets no event
            await asyncio.sleep(left)

    def _on_speaking(self, speaking: Speaking) -> None:
        self._spoken_at = asyncio.get_running_loop().time()
        if speaking.partials:
            self._open[speaking.job] = speaking
            if speaking.settled:
                self._make_way(speaking)
            self._update()

    def _make_way(self, speaking: Speaking) -> None:
        """Give up what was begun of this segment before its end was known, as that delays its final."""
        self._ahead.make_way(speaking.job, speaking.settled)
        running = self._running.get(speaking.job)
        if running is not None:
            running[1].cancel()

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
        said = _settled(snapshot)
        try:
            result = await self._decode(said, is_settled=said is not snapshot)
        except Exception as exc:  # whatever the engine raises; the final transcript will report it
            log.warning("no interim result", job=speaking.job, error=repr(exc), exc_info=True)
            return
        if result is None or not result.text:
            return
        partial = Partial(
            job=said.job,
            index=said.index,
            start=said.start,
            end=said.end,
            text=result.text,
            language=result.language,
        )
        last = self._published.get(partial.job)
        if not _is_stale(partial, last):
            await self._bus.publish(local_agreement(last, partial))

    async def _decode(self, said: Snapshot, *, is_settled: bool) -> DecodeResult | None:
        sound = await sound_of(self._bus, [said], self._scheduler.engine)
        if is_settled and self._ahead.decodes(said.options):
            return await asyncio.shield(self._ahead.start(said.job, said.index, said.end, sound, said.options))
        return await self._scheduler.transcribe(
            sound.pcm, said.options, Priority.PARTIAL, parts=sound.parts, interim=True
        )


def _settled(snapshot: Snapshot) -> Snapshot:
    """The snapshot as the utterance will be if nobody goes on speaking; itself if that is not known."""
    if not snapshot.start < snapshot.settled <= snapshot.end:
        return snapshot
    pcm = snapshot.pcm[: (snapshot.settled - snapshot.start) * WIDTH]
    return snapshot.model_copy(update={"end": snapshot.settled, "pcm": pcm})


def _is_stale(partial: Partial, last: Partial | None) -> bool:
    """Whether another worker has already published as much or more of this segment."""
    return last is not None and last.index == partial.index and last.end >= partial.end
