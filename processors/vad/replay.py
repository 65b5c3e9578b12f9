"""A job's stored audio, segmented once more: another generation of what was made of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from bus import Bus
from contract import RATE, Message, Replay, Replayed, Utterance
from contract.audio import audio_subject
from processors.vad.checkpointed import Checkpointed
from processors.vad.settings import Settings


class Replaying(Checkpointed):
    """One generation of a stored job in the hands of its owner; the cuts among the audio are made as they were."""

    def __init__(self, bus: Bus, settings: Settings, replay: Replay, epoch: int) -> None:
        plan = settings.plan(replay.options, replay=True)
        super().__init__(bus, replay.job, "replay", replay.generation, replay.options, plan, epoch)
        self._speed = replay.speed
        self._origin: tuple[float, int] | None = None  # when this owner had heard so far
        self._paused_at = 0

    async def run(self) -> list[Message]:
        """Segment what is stored to its end; returns the event that says how many utterances that made."""
        counted = await self.segment()
        return [
            Replayed(job=self._job, generation=self._generation, segments=counted.segments, samples=counted.samples)
        ]

    async def _read(self, after: int) -> None:
        async with aclosing(self._bus.read("AUDIO", audio_subject(self._job), after=after, live=False)) as stored:
            async for raw in stored:
                work = self._take([(raw.seq, raw.data)])
                if work is not None and await work:
                    return
                await self._pause()

    def _begin(self, done: Utterance | None) -> None:
        super()._begin(done)
        self._paused_at = self._start

    async def _pause(self) -> None:
        heard = self._reassembler.expected
        if self._speed is not None:
            await self._keep_pace(heard, self._speed)
        if heard - self._paused_at >= RATE:
            self._paused_at = heard
            self._forget()
            await asyncio.sleep(0)  # what is stored comes without a pause, and jobs that are live want their turn

    async def _keep_pace(self, heard: int, speed: float) -> None:
        """Wait until the sound up to here would have been said; behind a take-over the clock begins anew."""
        now = asyncio.get_running_loop().time()
        began, at = self._origin = self._origin or (now, max(heard, self._start))
        ahead = began + (heard - at) / (RATE * speed) - now
        if ahead > 0:
            await asyncio.sleep(ahead)
