"""A live job: segmented while it is sent, announced while somebody speaks, and ended if its edge died."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import structlog

from bus import Bus, Conflict
from bus.claim import cut_audio
from bus.feed import Feed, StoredAudio, Work
from bus.requests import ask
from bus.supervisor import Supervisor
from contract import Closed, ContractError, Message, Opened, Partial, Progress, Segmented, Snapshot, Speaking
from contract.audio import AudioFrame, audio_subject, encode_audio
from processors.vad.checkpoint import Checkpoint
from processors.vad.core import OpenSegment, Output
from processors.vad.endpointing import Announcements, Endpointing
from processors.vad.settings import Settings

log = structlog.get_logger()

_PROGRESS_SAMPLES = 16_000
_ABANDONED_CHECK_SECONDS = 1.0
_STOOD_STILL = 5.0
"""Seconds between two checks after which this process must have been suspended."""
_CLOSED_TIMEOUT = 3.0
"""Seconds after the end of the audio in which a living edge closes its job."""


class LiveJob:
    """One job, segmented for the first time by the worker that has its lease."""

    def __init__(self, bus: Bus, feed: Feed, settings: Settings, opened: Opened, epoch: int) -> None:
        self._bus = bus
        self._feed = feed
        self._job = opened.job
        self._options = opened.options
        self._plan = settings.plan(opened.options)
        self._abandoned_after = settings.abandoned
        self._clock = asyncio.get_running_loop().time
        options = opened.options
        self._checkpoint = Checkpoint(
            bus,
            opened.job,
            source=options.source,
            options=options,
            epoch=epoch,
            windows=options.source != "live" or options.is_corrected,
        )
        self._audio = self._checkpoint.resume(self._plan)  # of nothing, until the checkpoint is loaded
        self._announcements = Announcements(growth=self._plan.partials, pauses=self._plan.hangover is not None)
        self._endpointing = Endpointing(self._plan.hangover) if self._plan.hangover else None
        self._tasks: Supervisor | None = None  # while the job is segmented
        self._cutting: asyncio.Task[None] | None = None
        self._last_start = 0  # of the utterance that was stored last
        self._progress_at = 0  # position that was published last
        self._read_seq = 0  # the last audio message, and when it was read
        self._read_at = 0.0

    async def run(self) -> list[Message]:
        """Segment the job to its end and see that it is closed; returns the event with the number of utterances."""
        checkpoint = self._checkpoint
        await checkpoint.load()
        if not checkpoint.finished:
            async with Supervisor() as self._tasks:
                try:
                    self._tasks.start(self._end_if_abandoned())
                    await self._segment()
                finally:
                    self._tasks = None
        await self._ensure_closed(checkpoint.end)
        return [Segmented(job=self._job, segments=checkpoint.segments, samples=checkpoint.end)]

    def snapshot(self) -> bytes | None:
        """The open segment as a `Snapshot`, if there is one."""
        segmenter, segment = self._audio.segmenter, self._audio.open_segment
        if segmenter is None or segment is None:
            return None
        return Snapshot(
            job=self._job,
            index=self._audio.index,
            previous_seq=self._checkpoint.previous_seq if self._checkpoint.segments == self._audio.index else 0,
            start=segment.start,
            end=segment.end,
            pcm=segmenter.pcm(segment),
            lead=segmenter.lead(segment.start),
            settled=segment.settled,
            options=self._checkpoint.options,
        ).encode()

    def on_partial(self, partial: Partial) -> None:
        """Take a hypothesis about the open segment."""
        if self._endpointing is not None and partial.index == self._audio.index:
            self._endpointing.on_partial(partial)
            self._end_pause(self._endpointing)

    async def _segment(self) -> None:
        self._audio = self._checkpoint.resume(self._plan)
        self._read_at = self._clock()
        after: int | None = self._checkpoint.read_after
        while after is not None:
            await self._feed.follow(self._job, self._take, after=after)
            output, after = self._audio.end_read()
            await self._store(output)
        await self._checkpoint.finish(self._audio.position)

    def _take(self, stored: list[StoredAudio]) -> Work | None:
        """Take the next audio messages; most need no waiting."""
        output = self._audio.step(stored)
        self._read_seq, self._read_at = stored[-1][0], self._clock()
        if output is not None:
            return self._finish_step(output)
        self._announce()
        return None

    async def _finish_step(self, output: Output) -> bool:
        await self._store(output)
        self._announce()
        return output.done

    async def _store(self, output: Output) -> None:
        for letter in output.dead:
            await self._bus.create(letter)
        for segment, audio_seq in output.segments:
            await self._checkpoint.append(segment, audio_seq)
            self._last_start = segment.start
            self._publish_progress()

    # ---- announcements, which are not stored

    def _announce(self) -> None:
        """Publish how far the job is, and that somebody speaks, when it is time."""
        segmenter = self._audio.segmenter
        if segmenter is None:
            return
        if segmenter.position - self._progress_at >= _PROGRESS_SAMPLES:
            self._publish_progress()
        if (segment := segmenter.open_segment) is not None:
            self._announce_speech(segment)

    def _publish_progress(self) -> None:
        segmenter = self._audio.segmenter
        assert segmenter is not None  # noqa: S101 - callers have one
        self._progress_at = segmenter.position
        self._feed.publish(
            Progress(
                job=self._job,
                heard=segmenter.position,
                floor=segmenter.floor,
                segments=self._checkpoint.segments,
                start=self._last_start,
            )
        )

    def _announce_speech(self, segment: OpenSegment) -> None:
        for first in self._announcements.due(self._audio.index, segment):
            self._feed.publish(
                Speaking(
                    job=self._job,
                    index=self._audio.index,
                    start=segment.start,
                    end=segment.end,
                    first=first,
                    partials=not first,  # a segment that has just opened is too short for a hypothesis
                    settled=segment.settled,
                )
            )
        if self._endpointing is not None:
            self._end_pause(self._endpointing)

    # ---- adaptive endpointing

    def _end_pause(self, endpointing: Endpointing) -> None:
        """Request a cut if the current pause ends the open segment.

        The request is stored among the audio and applied when it is read there, by everyone who reads the audio.
        """
        segment, index = self._audio.open_segment, self._audio.index
        busy = self._cutting is not None and not self._cutting.done()
        if segment is not None and self._tasks is not None and not busy and endpointing.ends(index, segment):
            self._cutting = self._tasks.start(self._request_cut(index, segment))

    async def _request_cut(self, index: int, paused: OpenSegment) -> None:
        def still_paused() -> bool:
            segment = self._audio.open_segment
            return segment is not None and (self._audio.index, segment.voiced_end) == (index, paused.voiced_end)

        try:
            await cut_audio(self._bus, self._job, paused.end, self._read_seq, still_paused)
        except ContractError as exc:  # the segment then ends after the longest hangover
            log.warning("no cut", job=self._job, reason=str(exc))

    # ---- jobs that no edge will end

    async def _end_if_abandoned(self) -> None:
        """End the job's audio after `VAD_ABANDONED` seconds without any, unless an edge says that it has the job.

        The end is stored only if no audio has come since: a slow edge is either too late, or in time to prevent it.
        """

        def restart() -> None:
            self._read_at = self._clock()

        # While the bus was away no audio could come, and the edge may take longer than this worker to reconnect.
        self._bus.connection.reconnected.add(restart)
        try:
            while True:
                asleep = self._clock()
                await asyncio.sleep(_ABANDONED_CHECK_SECONDS)
                if self._clock() - asleep > _STOOD_STILL:
                    restart()  # this process was suspended, and the edge may have been, too
                position, seq = self._audio.position, self._read_seq
                silent = self._clock() - self._read_at >= self._abandoned_after and self._bus.connection.is_up
                held = not silent or await ask(self._bus, f"live.{self._job}.holder") is not None
                if not held and await self._abandon(position, seq):
                    return
        finally:
            self._bus.connection.reconnected.discard(restart)

    async def _abandon(self, position: int, seq: int) -> bool:
        """Store the end of the audio unless more has come behind message `seq`; returns whether it is stored."""
        end = encode_audio(AudioFrame(position, b"", last=True))
        try:
            await self._bus.store(audio_subject(self._job), end, after=seq)
        except Conflict as conflict:
            if conflict.found is not None:
                return False
            try:  # all of it has become too old meanwhile, and is gone
                await self._bus.store(audio_subject(self._job), end, after=0)
            except Conflict:
                return False
        log.warning("job abandoned", job=self._job, samples=position)
        return True

    async def _ensure_closed(self, samples: int) -> None:
        """See that the job is closed, which its edge does if it is alive."""
        closed = self._bus.read("EVENTS", Closed.pattern(self._job))
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSED_TIMEOUT), aclosing(closed) as stored:
                await anext(stored)
                return
        await self._bus.create(Closed(job=self._job, samples=samples, reason="abandoned"))
