"""The product as a contender: jobs at a running system, through the capture socket, and what it wrote for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from bus import Bus
from client.session.capture import capture
from contract import RATE, WIDTH, Transcript, Utterance
from contract.transcript import read_transcripts, transcript_text

CHUNK = RATE // 2
"""Samples that are sent at a time."""

BEHIND = 1
"""Utterances of a live job that may be without a final while more sound is sent: as many as in a real conversation."""


class JobFailed(Exception):
    """A job has no complete transcript; the message says why."""


@dataclass(frozen=True)
class Written:
    """Transcripts of one job by generation, each in order of index; and the seconds from its creation to its end."""

    generations: dict[int, list[Transcript]]
    seconds: float

    def text(self, generation: int = 1, since: int = 0) -> str:
        """All its text, of segments that start at sample `since` or later."""
        told = [transcript for transcript in self.generations[generation] if transcript.start >= since]
        return transcript_text(told).replace("\n", " ")

    @property
    def corrected(self) -> str:
        """The text of the second generation, where it has one, else that of the first."""
        return self.text(2 if 2 in self.generations else 1)


class Product:
    """A running system, by its address and its bus."""

    def __init__(self, url: str, bus: Bus) -> None:
        self._url = url
        self._bus = bus

    async def live(self, pcm: bytes) -> Written:
        """As live audio: what is said next is only sent when nearly everything before it has its final.

        So each final is made as in a conversation, without the silence in between taking time. Raises JobFailed.
        """
        return await self._transcribe(pcm, source="live", partials=False)

    async def fast(self, pcm: bytes) -> Written:
        """As an upload, at full speed. Raises JobFailed."""
        return await self._transcribe(pcm, source="upload")

    async def _transcribe(self, pcm: bytes, **options: Any) -> Written:
        began = perf_counter()
        pace = _Pace(self._bus, pcm, waits=options["source"] == "live")
        job = ""
        messages = capture([self._url], pace.chunks(), {"summary": False, "title": "words", **options}, fast=True)
        async with aclosing(messages):
            async for message in messages:
                if message["type"] == "connection_success":
                    job = pace.job = message["job_id"]
                elif message["type"] == "transcript_segment":
                    pace.told(message["index"])
        seconds = perf_counter() - began
        stored = await self._bus.history("EVENTS", Transcript.pattern(job))
        generations: dict[int, list[Transcript]] = {}
        for transcript in read_transcripts(raw.data for raw in stored):
            generations.setdefault(transcript.generation, []).append(transcript)
            if transcript.error:
                raise JobFailed(f"segment {transcript.index} of job {job} has no text: {transcript.error}")
        return Written({1: []} | generations, seconds)


class _Pace:
    """Hands out the sound of a job; `waits`: no further than its finals allow."""

    def __init__(self, bus: Bus, pcm: bytes, *, waits: bool) -> None:
        self.job = ""
        self._bus = bus
        self._pcm = pcm
        self._waits = waits
        self._told: set[int] = set()
        self._change = asyncio.Event()

    def told(self, index: int) -> None:
        """A final is there."""
        self._told.add(index)
        self._change.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The sound, piece by piece."""
        for start in range(0, len(self._pcm), CHUNK * WIDTH):
            yield self._pcm[start : start + CHUNK * WIDTH]
            while self._waits and await self._behind() > BEHIND:
                self._change.clear()
                await self._change.wait()

    async def _behind(self) -> int:
        """Utterances that are stored and have no final."""
        if not self.job:
            return 0
        last = await self._bus.last(Utterance, Utterance.pattern(self.job, generation="1"))
        return 0 if last is None else last.value.index + 1 - len(self._told)
