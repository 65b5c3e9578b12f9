"""Publishes audio: without waiting for each ack, within a bounded window, and again until it is stored.

`publish_async` of nats-py would not do: it swallows refusals, and its futures never resolve after a disconnect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Self

import structlog

from bus.backoff import delay_after
from bus.claim import Claim, end_audio
from bus.connection import ACK_TIMEOUT
from bus.fast_client import FastClient
from bus.streams import Bus
from bus.supervisor import Supervisor
from contract import WIDTH
from contract.audio import AudioFrame, Window, audio_subject, encode_audio, encode_header

log = structlog.get_logger()

_TICK = 0.2
_PIECE = 262_144
"""Bytes to send again before waiting until the server has processed them."""


class AudioPublisher:
    """Publishes the audio of many jobs over one connection, with one inbox for all acks; an async context manager."""

    def __init__(self, bus: Bus) -> None:
        self.client = FastClient(bus.connection)
        """The connection, for others with many messages to publish or to receive."""
        self._bus = bus
        self._tracks: dict[bytes, AudioTrack] = {}
        self._count = 0
        self._tasks = Supervisor()

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        self._inbox = self.client.new_inbox()
        self.client.subscribe(f"{self._inbox}.>", self._on_ack)
        self.client.reconnected.add(self._reconnected)
        await self._tasks.__aenter__()
        self._tasks.start(self._resend(), name="resend audio")
        return self

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        try:
            await self._tasks.__aexit__(kind, exc, traceback)
        finally:
            await self.client.__aexit__(kind, exc, traceback)

    def track(self, job: str, claim: Claim = Claim(), *, generation: int = 1) -> AudioTrack:  # noqa: B008 - frozen
        """Begin to publish a job's audio where it was claimed; call `forget` at its end."""
        self._count += 1
        key = b"%d" % self._count
        line = b"PUB %b %b.%b." % (audio_subject(job).encode(), self._inbox.encode(), key)
        track = AudioTrack(self._bus, self.client, job, generation, key, line, claim)
        self._tracks[key] = track
        return track

    def forget(self, track: AudioTrack) -> None:
        """End a track, without waiting for what is not stored yet."""
        self._tracks.pop(track.key, None)

    def trouble(self, seconds: float) -> str | None:
        """What to say if some job's audio has waited this long without any of it being stored."""
        return next(filter(None, (track.trouble(seconds) for track in self._tracks.values())), None)

    def _on_ack(self, subject: bytes, _headers: bytes, answer: bytes) -> None:
        _, key, token = subject.rsplit(b".", 2)
        track = self._tracks.get(key)
        if track is not None:
            try:
                track.answered(int(token), answer)
            except Exception as exc:  # noqa: BLE001 - raised by this track, whose capture would wait forever
                track.fail(exc)

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            size = 0
            for track in list(self._tracks.values()):
                size += track.resend_if_due()
                if size > _PIECE:  # after a restart of the server each job has a second of audio to send again
                    size = 0
                    await self.client.flushed()

    def _reconnected(self) -> None:
        for track in self._tracks.values():
            track.mark_lost()


class AudioTrack(Window):
    """The audio of one job that is being published: its window, and the sending.

    `stored`: all samples below this index are acknowledged by the stream; `sent`: index of the next sample to send.
    """

    __slots__ = (
        "_advanced",
        "_bus",
        "_claim",
        "_client",
        "_clock",
        "_cut_at",
        "_cutting",
        "_failure",
        "_generation",
        "_last_ack",
        "_line",
        "_moved",
        "_moved_at",
        "_quiet_since",
        "_refusal",
        "_refusals",
        "_subject",
        "_turn",
        "_waiters",
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
        self._failure: Exception | None = None
        self._waiters = 0  # of `_moved`
        self._advanced = False  # since `_note_progress` was last called
        self._turn = asyncio.Lock()  # held while sending, cutting or finishing
        self._clock = asyncio.get_running_loop().time
        self._quiet_since = 0.0  # of the last progress or resend
        self._moved_at = 0.0  # of the last progress
        self._refusals = 0
        self._refusal = ""  # the stream's own words

    @property
    def waiting(self) -> float:
        """Seconds since any of the audio under way was stored."""
        self._note_progress()
        return self._clock() - self._moved_at if self._cutting or not self.empty else 0.0

    def trouble(self, seconds: float) -> str | None:
        """What to say if audio has waited this long without any of it being stored."""
        if self.waiting <= seconds:
            return None
        return ": ".join(filter(None, ["audio cannot be stored at present", self._refusal]))

    async def room(self) -> None:
        """Wait while the window is full."""
        while self.full:
            await self._wait()

    async def send(self, *sound: bytes) -> None:
        """Publish the next samples, after any cut that is under way; waits while the window is full."""
        async with self._turn:
            rest: Sequence[bytes] = sound
            while rest:
                await self.room()
                rest = self.publish(rest)

    def publish(self, sound: Sequence[bytes]) -> Sequence[bytes]:
        """Publish the next samples; returns those that there is no room for. Not while a cut is under way.

        sound: mono s16le at 16 kHz; pieces passed together are stored together, up to a limit.
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
        self._client.send(message)  # dropped without a connection, but it stays in the window

    async def cut(self) -> None:
        """End the open segment at the current sample; returns once this request is stored, perhaps more than once."""
        # Frames with samples may be sent again and out of order, because their index says where they belong. The
        # request has no samples, so nothing else may be under way before or behind it.
        async with self._turn:
            await self.drained()
            at = self.sent
            if at == self._cut_at:
                return  # no audio since the last cut
            self._cutting, self._moved_at = True, self._clock()
            try:
                await self._bus.store(
                    self._subject, encode_audio(AudioFrame(at, b"", False, self._generation, cut=True))
                )
            finally:
                self._cutting = False
            self._cut_at = at

    async def finish(self) -> int:
        """Wait until all audio is stored, then store the end mark; returns the sample count.

        Raises Superseded if another connection has taken the job over.
        """
        async with self._turn:
            await self.drained()
            # The sequence of a cut would not do: it may have been stored behind another connection's claim.
            after = json.loads(self._last_ack)["seq"] if self._last_ack else self._claim.seq
            await end_audio(self._bus, self.job, self.sent, after, self._generation)
            return self.sent

    def answered(self, token: int, answer: bytes) -> None:
        """Take the stream's answer to one message."""
        # An empty answer is the server's "no responders": there is no stream, or JetStream is starting.
        if not answer or answer.find(b'"error"', 0, 12) >= 0:
            self._note_progress()
            if not self.refused:
                log.warning("audio refused, will be sent again", job=self.job, answer=answer.decode(errors="replace"))
                self._refusals += 1
                error = json.loads(answer)["error"] if answer else {}
                self._refusal = str(error.get("description", "JetStream does not answer"))
                self._bus.connection.note_refusal(error.get("err_code"), self._refusal)
            self.refuse(token)
        elif self.ack(token):
            self._last_ack = answer
            self._advanced = True
            if self._waiters:
                self._moved.set()

    def resend_if_due(self) -> int:
        """Send again from the watermark after a refusal (with backoff) or after silence; returns bytes of audio."""
        self._note_progress()
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
        """Wait for the next ack; raises RuntimeError once the track has failed."""
        self._moved.clear()
        self._waiters += 1
        try:
            if self._failure is None:
                await self._moved.wait()
        finally:
            self._waiters -= 1
        if self._failure is not None:
            raise RuntimeError(f"the acks of job {self.job} cannot be processed") from self._failure

    def fail(self, exc: Exception) -> None:
        """Let everyone who waits on this track fail, now and later."""
        self._failure = exc
        self._moved.set()

    def _note_progress(self) -> None:
        """Note when the audio last advanced. Reading the clock at each ack would add a third to its cost."""
        if self._advanced:
            self._advanced = False
            self._refusals, self._refusal = 0, ""
            self._quiet_since = self._moved_at = self._clock()
