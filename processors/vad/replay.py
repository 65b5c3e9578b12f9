"""A job's stored audio, segmented once more: another generation of its utterances."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from bus import Bus
from contract import RATE, SPEEDS, Message, Replay, Replayed
from contract.audio import audio_subject
from processors.vad.checkpoint import Checkpoint
from processors.vad.core import Output, Segmentation
from processors.vad.settings import Settings


class ReplayJob:
    """One replay; the cut requests among the audio are applied as they were when the job was live."""

    def __init__(self, bus: Bus, settings: Settings, replay: Replay, epoch: int) -> None:
        self._bus = bus
        self._replay = replay
        self._plan = settings.plan(replay.options, replay=True)
        self._checkpoint = Checkpoint(
            bus,
            replay.job,
            source="replay",
            generation=replay.generation,
            options=replay.options,
            epoch=epoch,
            windows=True,
        )

    async def run(self) -> list[Message]:
        """Segment what is stored to its end; returns the event that says how many utterances there are."""
        checkpoint, replay = self._checkpoint, self._replay
        await checkpoint.load()
        if not checkpoint.finished:
            await self._segment()
        done = Replayed(
            job=replay.job, generation=replay.generation, segments=checkpoint.segments, samples=checkpoint.end
        )
        return [done]

    async def _segment(self) -> None:
        audio = self._checkpoint.resume(self._plan)
        pace = _Pace(self._replay.speed, audio.position)
        after: int | None = self._checkpoint.read_after
        while after is not None:
            await self._read(after, audio, pace)
            output, after = audio.end_read()
            await self._store(output)
        await self._checkpoint.finish(audio.position)

    async def _read(self, after: int, audio: Segmentation, pace: _Pace) -> None:
        """Read the audio behind a sequence, to its end or to the end of what is stored."""
        subject = audio_subject(self._replay.job)
        async with aclosing(self._bus.read("AUDIO", subject, after=after, live=False)) as stored:
            async for raw in stored:
                output = audio.step([(raw.seq, raw.data)])
                if output is not None:
                    await self._store(output)
                    if output.done:
                        return
                await pace.keep(audio.position)

    async def _store(self, output: Output) -> None:
        for letter in output.dead:
            await self._bus.create(letter)
        for segment, audio_seq in output.segments:
            await self._checkpoint.append(segment, audio_seq)


class _Pace:
    """How quickly a replay is read; `speed`: 1 as fast as it was spoken, None as fast as possible.

    Requests of earlier versions may ask for any speed above 0; one that is too low counts as the lowest.
    """

    def __init__(self, speed: float | None, start: int) -> None:
        self._speed = None if speed is None else max(speed, SPEEDS[0])
        self._start = start
        self._yielded_at = start
        self._origin: tuple[float, int] | None = None  # time and sample at which this worker started

    async def keep(self, position: int) -> None:
        """Wait until the audio up to here would have been spoken."""
        if self._speed is not None:
            now = asyncio.get_running_loop().time()
            began, at = self._origin = self._origin or (now, max(position, self._start))
            ahead = began + (position - at) / (RATE * self._speed) - now
            if ahead > 0:
                await asyncio.sleep(ahead)
        if position - self._yielded_at >= RATE:
            self._yielded_at = position
            await asyncio.sleep(0)  # stored audio arrives without pause, and live jobs must have their turn
