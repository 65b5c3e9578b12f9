"""Audio onto the bus: published without waiting for each ack, within a bounded window, and sent again until stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Self

import structlog

from bus.backoff import delay_after
from bus.claim import Claim, end_audio
from bus.fast_client import FastClient
from bus.stream import ACK_TIMEOUT, Bus
from bus.window import Window
from contract import WIDTH
from contract.audio import AudioFrame, audio_subject, encode_audio, encode_header

log = structlog.get_logger()

_TICK = 0.2
_PIECE = 262_144
"""Bytes that are sent again before the server has to have dealt with them."""


class AudioPublisher:
    """The audio of many jobs over one connection, with one inbox for all their acks; an async context manager."""

    def __init__(self, bus: Bus) -> None:
        self.client = FastClient(bus)
        """The connection, for others who have much to send or to hear."""
        self._bus = bus
        self._tracks: dict[bytes, AudioTrack] = {}
        self._count = 0

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        self._inbox = self.client.new_inbox()
        self.client.subscribe(f"{self._inbox}.>", self._on_ack)
        self.client.reconnected.add(self._reconnected)
        self._resending = asyncio.create_task(self._resend())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._resending.cancel()
        await self.client.__aexit__(*exc)

    def track(self, job: str, claim: Claim = Claim(), *, generation: int = 1) -> AudioTrack:  # noqa: B008 - frozen
        """Begin to publish a job's audio where it was claimed; the track must be forgotten at its end."""
        self._count += 1
        key = b"%d" % self._count
        line = b"PUB %b %b.%b." % (audio_subject(job).encode(), self._inbox.encode(), key)
        track = AudioTrack(self._bus, self.client, job, generation, key, line, claim)
        self._tracks[key] = track
        return track

    def forget(self, track: AudioTrack) -> None:
        """End a track; what is not stored by now is not waited for."""
        self._tracks.pop(track.key, None)

    def stalled(self, seconds: float) -> bool:
        """Whether some audio has been on its way for so long without an answer that is good."""
        return any(track.waiting > seconds for track in self._tracks.values())

    def _on_ack(self, subject: bytes, _headers: bytes, answer: bytes) -> None:
        _, key, token = subject.rsplit(b".", 2)
        track = self._tracks.get(key)
        if track is not None:
            track.answered(int(token), answer)

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            size = 0
            for track in list(self._tracks.values()):
                size += track.resend_if_due()
                if size > _PIECE:  # after a restart of the server all have a second of sound to send again
                    size = 0
                    await self.client.flushed()

    def _reconnected(self) -> None:
        for track in self._tracks.values():
            track.mark_lost()


class AudioTrack(Window):
    """The audio of one job on its way: its window, and what sends from it.

    `stored`: all samples below it have been acknowledged by the stream; `sent`: index of the next sample to be sent.
    """

    __slots__ = (
        "_advanced",
        "_awaited",
        "_bus",
        "_claim",
        "_client",
        "_clock",
        "_cut_at",
        "_cutting",
        "_generation",
        "_last_ack",
        "_line",
        "_moved",
        "_moved_at",
        "_quiet_since",
        "_refusals",
        "_subject",
        "_turn",
        "job",
        "key",
    )

    def __init__(
        self, bus: Bus, client: FastClient, job: str, generation: int, key: bytes, line: bytes, claim: Claim
    ) -> None:
        super().__init__(claim.start)
        self.job = job
        self.key = key
        self._bus = bus
        self._client = client
        self._subject = audio_subject(job)
        self._generation = generation
        self._line = line
        self._claim = claim
        self._last_ack = b""
        self._cut_at = -1
        self._cutting = False
        self._moved = asyncio.Event()
        self._awaited = 0  # how many wait for that
        self._advanced = False  # since the clock was last looked at
        self._turn = asyncio.Lock()  # whose sending, cut or end it is
        self._clock = asyncio.get_running_loop().time
        self._quiet_since = 0.0  # since when there was neither progress nor another round
        self._moved_at = 0.0
        self._refusals = 0

    @property
    def waiting(self) -> float:
        """Seconds for which nothing of what is under way has been stored."""
        self._look_at_clock()
        return self._clock() - self._moved_at if self._cutting or not self.empty else 0.0

    async def room(self) -> None:
        """Wait while it is full."""
        while self.full:
            await self._wait()

    async def send(self, *sound: bytes) -> None:
        """Publish the samples that follow, after a cut that is under way; waits while the window is full."""
        async with self._turn:
            rest: Sequence[bytes] = sound
            while rest:
                await self.room()
                rest = self.publish(rest)

    def publish(self, sound: Sequence[bytes]) -> Sequence[bytes]:
        """Publish the samples that follow; returns what there is no room for. Not while a cut is under way.

        sound: mono s16le at 16 kHz; pieces that come together are stored together, as far as that pays.
        """
        if self.empty:
            self._quiet_since = self._moved_at = self._clock()
        messages, rest = self.push(sound)
        for token, end, pcm in messages:
            self._send(token, end, pcm)
        return rest

    def _send(self, token: int, end: int, pcm: bytes) -> None:
        head = encode_header(end - len(pcm) // WIDTH, pcm, self._generation)
        message = b"%b%d %d\r\n%b%b\r\n" % (self._line, token, len(head) + len(pcm), head, pcm)
        self._client.send(message)  # dropped while the line is away: it is in the window

    async def cut(self) -> None:
        """Ask that the open segment end where the audio stands; returns once that is stored, perhaps more than once."""
        # What has samples may be sent again and overtake others: its index puts it where it belongs. Nothing does that
        # for a frame without samples, so nothing else may be under way around it.
        async with self._turn:
            await self.drained()
            at = self.sent
            if at == self._cut_at:
                return  # no sound came since
            self._cutting, self._moved_at = True, self._clock()
            try:
                await self._bus.store(
                    self._subject, encode_audio(AudioFrame(at, b"", False, self._generation, cut=True))
                )
            finally:
                self._cutting = False
            self._cut_at = at

    async def finish(self) -> int:
        """Wait until everything is stored, then store the mark that no more will come; returns the sample count.

        Raises Superseded where another connection has the job by now.
        """
        async with self._turn:
            await self.drained()
            # Not the sequence of a cut, which may have been stored behind another connection's claim.
            after = json.loads(self._last_ack)["seq"] if self._last_ack else self._claim.seq
            await end_audio(self._bus, self.job, self.sent, after, self._generation)
            return self.sent

    def answered(self, token: int, answer: bytes) -> None:
        """The stream's answer to one sending."""
        # One without data is the server's "no responders": no stream listens, or JetStream is starting.
        if not answer or answer.find(b'"error"', 0, 12) >= 0:
            self._look_at_clock()
            if not self.refused:
                log.warning("audio refused, will be sent again", job=self.job, answer=answer.decode(errors="replace"))
                self._refusals += 1
            self.refuse(token)
        elif self.ack(token):
            self._last_ack = answer
            self._advanced = True
            if self._awaited:
                self._moved.set()

    def resend_if_due(self) -> int:
        """Send again from the watermark after a refusal (with backoff) or after silence; returns bytes of sound."""
        self._look_at_clock()
        if self.empty:
            return 0
        quiet = self._clock() - self._quiet_since
        patience = delay_after(1 + self._refusals, _TICK, ACK_TIMEOUT) if self.refused else ACK_TIMEOUT
        if quiet < patience or not self._client.ready:
            return 0
        self._quiet_since = self._clock()
        again = self.resend()
        for token, end, pcm in again:
            self._send(token, end, pcm)
        return sum(len(pcm) for _, _, pcm in again)

    async def drained(self) -> None:
        """Wait until everything is stored."""
        while not self.empty:
            await self._wait()

    async def _wait(self) -> None:
        self._moved.clear()
        self._awaited += 1
        try:
            await self._moved.wait()
        finally:
            self._awaited -= 1

    def _look_at_clock(self) -> None:
        """Note progress; with each ack that would be a third of its cost."""
        if self._advanced:
            self._advanced = False
            self._refusals = 0
            self._quiet_since = self._moved_at = self._clock()
