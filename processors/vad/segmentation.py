"""One job in the hands of its owner. Its output is its only state.

The last utterance of a job says where segmentation stands: whoever takes over reads the audio from there on and decides
what the former owner would have decided. Each utterance is stored only if the one before it is still the last, so that
an owner that lost its lease without knowing finds out at its next write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial

import structlog

from bus import WIDTH, Bus, Conflict, ContractError, Fenced, Message
from bus.audio import audio_subject, decode_audio
from bus.claim import cut_audio, decoded_utterance, last_utterance
from bus.intake import Gap, Intake
from bus.messages import Opened, Partial, Progress, Segmented, Snapshot, Speaking, SpeechOptions, Utterance, dead_letter
from processors.vad.abandoned import Heard, end_when_abandoned, ensure_closed
from processors.vad.core import FRAME, WARM_UP, Segment, Segmenter, Speech
from processors.vad.endpointing import Endpointing
from processors.vad.settings import Settings
from processors.vad.telling import Telling
from processors.vad.webrtc import detector

log = structlog.get_logger()

_PROGRESS_SAMPLES = 16_000


class Segmentation:
    """One job in the hands of its owner."""

    def __init__(self, bus: Bus, settings: Settings, opened: Opened, epoch: int) -> None:
        self._bus = bus
        self._job = opened.job
        self._abandoned = settings.abandoned
        self._epoch = epoch
        self._source = opened.options.source
        self._options = SpeechOptions(**opened.options.model_dump())
        self._plan = plan = settings.plan(opened.options)
        self._new_detector = partial(detector, plan.aggressiveness)
        self._telling = Telling(again=plan.partials, pauses=plan.hangover is not None)
        self._endpointing = Endpointing(plan.hangover) if plan.hangover else None
        self._marking: asyncio.Task[None] | None = None
        self._index = 0
        self._open = 0  # index of what is open, which runs ahead while utterances are being stored
        self._last_seq = 0
        self._published_start = 0
        self._progress_at = 0
        self._before = bytearray()
        self._segmenter: Segmenter | None = None
        self._read_seq = 0
        self._read_at = 0.0

    async def run(self) -> list[Message]:
        """Segment the job to its end and see it closed; returns the event that says how many utterances there are."""
        done, self._last_seq = await last_utterance(self._bus, self._job, self._source)
        segmented = (
            Segmented(job=self._job, segments=done.index, samples=done.end)
            if done and done.last
            else await self._segment(done)
        )
        await ensure_closed(self._bus, self._job, segmented.samples)
        return [segmented]

    async def _segment(self, done: Utterance | None) -> Segmented:
        self._index = self._open = done.index + 1 if done else 0
        self._start, self._continues = (done.end, done.continues) if done else (0, False)
        # A new detector is warmed with the sound before the checkpoint, which is therefore read first.
        self._intake = Intake(self._start)
        self._read_at = asyncio.get_running_loop().time()
        watch = asyncio.create_task(end_when_abandoned(self._bus, self._job, self._abandoned, self._heard))
        seq = done.audio_seq if done else 1
        try:
            while True:
                try:
                    return await self._read(seq)
                except Gap as gap:
                    log.error("audio is gone", job=self._job, expected=self._intake.expected, goes_on_at=gap.sample)
                    self._intake.skip(gap)
                    await self._publish(self._skip(gap.sample))
                    seq = gap.seq
        finally:
            watch.cancel()
            if self._marking is not None:
                self._marking.cancel()

    def _heard(self) -> Heard:
        return Heard(self._intake.expected, self._read_seq, self._read_at)

    async def _read(self, seq: int) -> Segmented:
        async with aclosing(self._bus.read("AUDIO", audio_subject(self._job), after=seq - 1)) as stored:
            async for raw in stored:
                self._read_seq, self._read_at = raw.seq, asyncio.get_running_loop().time()
                try:
                    frame = decode_audio(raw.data)
                except ContractError as exc:
                    await self._bus.create(dead_letter("AUDIO", raw.seq, raw.subject, str(exc)))
                    continue
                segments = self._hear(self._intake.take(raw.seq, frame))
                if self._segmenter is not None and self._intake.cuts(frame):
                    segments += self._segmenter.cut(frame.start)
                await self._publish(segments)
                if frame.last:
                    return await self._finish(frame.end)
                await self._speak()
        raise RuntimeError("a live read has no end")

    def _hear(self, pcm: bytes) -> list[Segment]:
        """Take the sound that follows; what lies before the checkpoint only warms the detector up."""
        if self._segmenter is None:
            self._before += pcm
            over = (self._intake.expected - self._start) * WIDTH
            if over < 0:
                return []
            split = len(self._before) - over
            self._segmenter = self._new_segmenter(bytes(self._before[:split]))
            pcm = bytes(self._before[split:])
        return self._segmenter.feed(pcm)

    def _skip(self, to: int) -> list[Segment]:
        if self._segmenter is not None:
            return self._segmenter.skip(to)
        self._before.clear()
        if to >= self._start:
            self._start, self._continues = to, False
            self._segmenter = self._new_segmenter(b"")
        return []

    def _new_segmenter(self, before: bytes) -> Segmenter:
        return Segmenter(
            self._new_detector, self._plan.parameters, start=self._start, continues=self._continues, before=before
        )

    async def _publish(self, segments: Sequence[Segment]) -> None:
        self._open += len(segments)
        for segment in segments:
            await self._append(
                Utterance(
                    job=self._job,
                    source=self._source,
                    index=self._index,
                    start=segment.start,
                    end=segment.end,
                    pcm=segment.pcm,
                    continues=segment.continues,
                    audio_seq=self._intake.sequence_of(segment.end - WARM_UP * FRAME),
                    epoch=self._epoch,
                    options=self._options,
                )
            )
            self._index += 1
            self._published_start = segment.start
            await self._tell()
        if self._segmenter is not None:
            self._intake.forget(self._segmenter.floor - WARM_UP * FRAME)
            if self._segmenter.heard - self._progress_at >= _PROGRESS_SAMPLES:
                await self._tell()

    async def _append(self, utterance: Utterance) -> None:
        while True:
            try:
                self._last_seq = await self._bus.append(utterance, self._last_seq)
                return
            except Conflict as conflict:
                found = conflict.found
            if found is None:  # what we wrote has outlived its retention
                self._last_seq = 0
            elif decoded_utterance(found) is None:
                self._last_seq = found.seq  # not a writer's, but garbage, which readers of speech dead-letter
            else:
                raise Fenced(f"{found.subject} has another writer")

    async def _tell(self) -> None:
        assert self._segmenter is not None  # noqa: S101 - callers have one
        self._progress_at = self._segmenter.heard
        await self._bus.publish(
            Progress(
                job=self._job,
                heard=self._segmenter.heard,
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
            pcm=self._segmenter.sound(speech),
            options=self._options,
        ).encode()

    def understood(self, partial: Partial) -> None:
        """Somebody has understood something of this job."""
        if self._endpointing is not None and partial.index == self._open:
            self._endpointing.understood(partial)
            self._look_for_the_end()

    @property
    def _speech(self) -> Speech | None:
        return None if self._segmenter is None else self._segmenter.speech

    async def _speak(self) -> None:
        """Tell what is open, to whom it may concern."""
        speech = self._speech
        for first in self._telling.due(self._open, speech):
            assert speech is not None  # noqa: S101 - else nothing is due
            await self._bus.publish(
                Speaking(
                    job=self._job,
                    index=self._open,
                    start=speech.start,
                    end=speech.end,
                    first=first,
                    partials=not first,  # what has just opened is too short to be understood
                )
            )
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

    async def _finish(self, end: int) -> Segmented:
        if self._segmenter is not None:
            await self._publish(self._segmenter.finish())
        await self._append(
            Utterance(
                job=self._job,
                source=self._source,
                index=self._index,
                start=end,
                end=end,
                last=True,
                epoch=self._epoch,
            )
        )
        return Segmented(job=self._job, segments=self._index, samples=end)
