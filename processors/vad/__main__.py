"""Audio to speech segments. One worker owns a job at a time; its output is its only state.

The last utterance of a job says where segmentation stands: whoever takes over reads the audio from there on and decides
what the former owner would have decided. Each utterance is stored only if the one before it is still the last, so that
an owner that lost its lease without knowing finds out at its next write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from functools import partial

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import WIDTH, Bus, Conflict, ContractError, Fenced, Message, lease, run
from bus.audio import audio_subject, decode_audio
from bus.claim import decoded_utterance, last_utterance
from bus.intake import Gap, Intake
from bus.messages import Opened, Progress, Segmented, SpeechOptions, Utterance, VadOptions, dead_letter
from processors.vad.abandoned import Heard, end_when_abandoned, ensure_closed
from processors.vad.core import FRAME, WARM_UP, Parameters, Segment, Segmenter
from processors.vad.webrtc import detector

log = structlog.get_logger()

_PROGRESS_SAMPLES = 16_000


class Settings(BaseSettings):
    """How jobs are segmented that do not say otherwise."""

    model_config = SettingsConfigDict(env_prefix="VAD_")

    aggressiveness: int = Field(2, ge=0, le=3, description="webrtcvad mode: 3 calls the least speech.")
    onset_ms: int = Field(90, ge=30, le=600)
    padding_ms: int = Field(300, ge=0, le=1_000)
    hangover_ms: int = Field(600, ge=150, le=3_000)
    max_ms: int = Field(28_000, ge=5_000, le=28_000)
    ack_wait: float = Field(5.0, ge=0.5, description="Seconds of silence after which a worker counts as dead.")
    abandoned: float = Field(35.0, gt=0, description="Seconds without audio after which a job that no edge has ends.")

    def parameters(self, options: VadOptions) -> tuple[int, Parameters]:
        """The detector's mode and the segmenter's parameters for one job."""
        asked = options.model_dump(exclude_none=True)
        merged = self.model_dump(exclude={"ack_wait", "abandoned"}) | asked
        return merged.pop("aggressiveness"), Parameters(**merged)


class Segmentation:
    """One job in the hands of its owner."""

    def __init__(self, bus: Bus, settings: Settings, opened: Opened, epoch: int) -> None:
        self._bus = bus
        self._job = opened.job
        self._abandoned = settings.abandoned
        self._epoch = epoch
        self._options = SpeechOptions(**opened.options.model_dump())
        mode, self._parameters = settings.parameters(opened.options.vad)
        self._new_detector = partial(detector, mode)
        self._index = 0
        self._last_seq = 0
        self._published_start = 0
        self._progress_at = 0
        self._before = bytearray()
        self._segmenter: Segmenter | None = None
        self._read_seq = 0
        self._read_at = 0.0

    async def run(self) -> list[Message]:
        """Segment the job to its end and see it closed; returns the event that says how many utterances there are."""
        done, self._last_seq = await last_utterance(self._bus, self._job)
        segmented = (
            Segmented(job=self._job, segments=done.index, samples=done.end)
            if done and done.last
            else await self._segment(done)
        )
        await ensure_closed(self._bus, self._job, segmented.samples)
        return [segmented]

    async def _segment(self, done: Utterance | None) -> Segmented:
        self._index = done.index + 1 if done else 0
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
                await self._publish(self._hear(self._intake.take(raw.seq, frame)))
                if frame.last:
                    return await self._finish(frame.end)
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
            self._new_detector, self._parameters, start=self._start, continues=self._continues, before=before
        )

    async def _publish(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            await self._append(
                Utterance(
                    job=self._job,
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

    async def _finish(self, end: int) -> Segmented:
        if self._segmenter is not None:
            await self._publish(self._segmenter.finish())
        await self._append(
            Utterance(job=self._job, index=self._index, start=end, end=end, last=True, epoch=self._epoch)
        )
        return Segmented(job=self._job, segments=self._index, samples=end)


async def own(bus: Bus, settings: Settings, opened: Opened, epoch: int) -> list[Message]:
    """Segment one job from where it stands to its end."""
    return await Segmentation(bus, settings, opened, epoch).run()


async def main(bus: Bus, settings: Settings) -> None:
    """Own jobs as they are opened."""
    await bus.announce("vad")
    await lease(bus, Opened, partial(own, bus, settings), durable="vad", ack_wait=settings.ack_wait)


if __name__ == "__main__":
    run("vad", main, Settings)
