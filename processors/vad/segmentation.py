"""A job that is live in the hands of its owner: segmented, told of while somebody speaks, and seen to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from bus import Bus
from bus.claim import cut_audio
from bus.feed import Feed, StoredAudio, Work
from contract import ContractError, Message, Opened, Partial, Progress, Segmented, Snapshot, Speaking, Utterance
from processors.vad.abandoned import Heard, end_when_abandoned, ensure_closed
from processors.vad.checkpointed import Checkpointed, Counted
from processors.vad.core import OpenSegment, Segment
from processors.vad.endpointing import Endpointing
from processors.vad.settings import Settings
from processors.vad.telling import Telling

log = structlog.get_logger()

_PROGRESS_SAMPLES = 16_000


class Segmentation(Checkpointed):
    """One job in the hands of its owner, while it is sent and for the first time."""

    def __init__(self, bus: Bus, feed: Feed, settings: Settings, opened: Opened, epoch: int) -> None:
        options = opened.options
        plan = settings.plan(options)
        super().__init__(bus, opened.job, options.source, 1, options, plan, epoch)
        self._feed = feed
        self._abandoned = settings.abandoned
        self._telling = Telling(again=plan.partials, pauses=plan.hangover is not None)
        self._endpointing = Endpointing(plan.hangover) if plan.hangover else None
        self._watching: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None
        self._open = 0  # index of what is open, which runs ahead while utterances are being stored
        self._published_start = 0
        self._progress_at = 0
        self._read_seq = 0
        self._read_at = 0.0
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> list[Message]:
        """Segment the job to its end and see it closed; returns the event that says how many utterances there are."""
        counted = await self.segment()
        await ensure_closed(self._bus, self._job, counted.samples)
        return [Segmented(job=self._job, segments=counted.segments, samples=counted.samples)]

    async def segment(self) -> Counted:
        """As of any audio; ends the job's audio where nobody will."""
        try:
            return await super().segment()
        finally:
            for task in (self._watching, self._marking):
                if task is not None:
                    task.cancel()

    def _begin(self, done: Utterance | None) -> None:
        super()._begin(done)
        self._open = self._index
        self._read_at = self._clock()
        self._watching = asyncio.create_task(
            end_when_abandoned(self._bus, self._job, self._abandoned, self._heard),
        )

    async def _read(self, after: int) -> None:
        await self._feed.follow(self._job, self._take, after=after)

    def _heard(self) -> Heard:
        return Heard(self._reassembler.expected, self._read_seq, self._read_at)

    def _take(self, stored: list[StoredAudio]) -> Work | None:
        work = super()._take(stored)
        self._read_seq, self._read_at = stored[-1][0], self._clock()
        return work

    def _on_taken(self) -> None:
        if self._segmenter is None:
            return
        if self._reassembler.expected - self._progress_at >= _PROGRESS_SAMPLES:
            self._tell()
            self._forget()
        if self._segmenter.is_open:
            self._speak(self._segmenter.open_segment)

    def _on_cut(self, segments: Sequence[Segment]) -> None:
        self._open += len(segments)

    def _on_stored(self, segment: Segment) -> None:
        self._published_start = segment.start
        self._tell()

    def _tell(self) -> None:
        assert self._segmenter is not None  # noqa: S101 - callers have one
        self._progress_at = self._segmenter.position
        self._feed.publish(
            Progress(
                job=self._job,
                heard=self._segmenter.position,
                floor=self._segmenter.floor,
                segments=self._index,
                start=self._published_start,
            )
        )

    def snapshot(self) -> bytes | None:
        """What is open now, as a `Snapshot`."""
        speech = self._speech
        if self._segmenter is None or speech is None:
            return None
        return Snapshot(
            job=self._job,
            index=self._open,
            start=speech.start,
            end=speech.end,
            pcm=self._segmenter.pcm(speech),
            options=self._options,
        ).encode()

    def understood(self, partial: Partial) -> None:
        """Somebody has understood something of this job."""
        if self._endpointing is not None and partial.index == self._open:
            self._endpointing.understood(partial)
            self._look_for_the_end()

    @property
    def _speech(self) -> OpenSegment | None:
        return None if self._segmenter is None else self._segmenter.open_segment

    def _speak(self, speech: OpenSegment | None) -> None:
        """Tell what is open, to whom it may concern."""
        for first in self._telling.due(self._open, speech):
            assert speech is not None  # noqa: S101 - else nothing is due
            self._feed.publish(
                Speaking(
                    job=self._job,
                    index=self._open,
                    start=speech.start,
                    end=speech.end,
                    first=first,
                    partials=not first,  # what has just opened is too short to be understood
                )
            )
        if self._endpointing is not None:
            self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        """Have what is open cut if the pause that there is ends it.

        The cut is stored among the audio and made when it is read there, so that everyone who reads it makes it too.
        """
        speech, busy = self._speech, self._marking is not None and not self._marking.done()
        if self._endpointing is None or speech is None or busy or not self._endpointing.ends(self._open, speech):
            return
        pause = self._open, speech.voiced_end

        def lasts() -> bool:
            return self._speech is not None and (self._open, self._speech.voiced_end) == pause

        self._marking = asyncio.create_task(self._mark(speech.end, lasts))

    async def _mark(self, at: int, lasts: Callable[[], bool]) -> None:
        try:
            await cut_audio(self._bus, self._job, at, self._read_seq, lasts)
        except ContractError as exc:  # the segment then ends by its silence
            log.warning("no cut", job=self._job, reason=str(exc))
