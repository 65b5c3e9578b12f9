"""A whole capture over the public contract: create a job, deliver sound whatever breaks, yield what the server says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing

from audio import RATE
from client.api import Job, Options, create_job, get_job, in_turn, socket_url
from client.errors import JobClosedError, ServerError, TakenOverError, UnavailableError, UnreachableError
from client.session.connection import Message, converse
from client.session.messages import ROUNDING, retell
from client.session.pacing import LIVE_MS, UPLOAD_MS
from client.session.retry import GIVE_UP_AFTER, Outage, Reconnecting
from client.session.sender import Sound

_LOOK_EVERY = 0.5


async def capture(
    servers: Sequence[str],
    source: AsyncIterable[bytes],
    options: Options | None = None,
    *,
    frame_ms: int | None = None,
    fast: bool = False,
    stop: asyncio.Event | None = None,
    keepalive: float = 10.0,
    give_up_after: float = GIVE_UP_AFTER,
    on_reconnect: Callable[[Reconnecting], None] = lambda _: None,
) -> AsyncGenerator[Message, None]:
    """Send `source` (chunks of mono 16 kHz s16le of any size) as a new job; yield every message until the end.

    Sound goes out in real time in frames of `frame_ms`, 10 to 1,000 (None: LIVE_MS), or with `fast` as quickly as the
    server takes it (None: UPLOAD_MS). A connection that breaks is opened again, to each of `servers` in turn, and goes
    on where the server has the sound; up to a minute of it is kept meanwhile. Each segment is yielded once.
    `on_reconnect` is told before each attempt. Setting `stop` ends the sound early; the rest of the transcript and the
    summary still come.

    Raises UnreachableError when nobody answers, or after `give_up_after` seconds without a connection and without
    progress; ServerError when a server refuses, or sound could not be delivered; and whatever `source` raises: sound
    whose first chunk cannot be read makes no job. Closing the generator leaves the job to the server.
    """
    chunks = aiter(source)
    head = await anext(chunks, b"")
    first, job = await in_turn(servers, lambda server: create_job(server, options or Options()))
    sound = Sound(frame_ms or (UPLOAD_MS if fast else LIVE_MS), paced=not fast)
    reading = asyncio.create_task(sound.read(head, chunks, stop or asyncio.Event()))
    lifeline = _Lifeline(job, [*servers[first:], *servers[:first]], Outage(give_up_after), on_reconnect)
    try:
        try:
            async with aclosing(lifeline.deliver(sound, keepalive)) as messages:
                async for message in messages:
                    yield message
            return
        except JobClosedError:
            complete = sound.over
            reading.cancel()
        async with aclosing(lifeline.follow(sound)) as messages:
            async for message in messages:
                yield message
        _check_delivered(job, sound, lifeline.stored, complete=complete)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _check_delivered(job: Job, sound: Sound, stored: int, *, complete: bool) -> None:
    if not complete or stored + ROUNDING < sound.tail.end:
        raise ServerError(
            f"job {job.job_id} was closed while there was no connection: "
            f"the sound from {stored / RATE:.1f} s on was not delivered"
        )
    if sound.error is not None:
        raise sound.error


class _Lifeline:
    """Connections to one job, one after the other, and what has been told so far on all of them."""

    def __init__(
        self, job: Job, servers: Sequence[str], outage: Outage, on_reconnect: Callable[[Reconnecting], None]
    ) -> None:
        self.stored = 0
        """Samples that a server is known to have."""
        self._job = job
        self._servers = servers
        self._sockets = [job.ws_url, *(socket_url(server, job.job_id) for server in servers[1:])]
        self._turn = 0
        self._outage = outage
        self._on_reconnect = on_reconnect
        self._told: set[int] = set()
        self._told_until = 0.0  # end of the last final, in seconds
        self._started = -1.0  # start of the speech that was told of last
        self._given_up = 0

    async def deliver(self, sound: Sound, keepalive: float) -> AsyncGenerator[Message, None]:
        """Yield messages until the summary, over as many connections as that takes; raises as `converse` does."""
        while True:
            ws_url = self._sockets[self._turn]
            try:
                async with aclosing(converse(ws_url, sound, keepalive=keepalive)) as messages:
                    async for message in messages:
                        if self._is_news(message):
                            yield message
            except (UnreachableError, UnavailableError) as exc:
                self._given_up += 1
                await self._pause(exc, sound)
            except TakenOverError as exc:
                # A connection that we had given up may have reached its server late, and have taken the job from this
                # one. It can do so once; anybody else keeps the job.
                if not self._given_up:
                    raise
                self._given_up -= 1
                await self._pause(exc, sound)
            else:
                return

    async def follow(self, sound: Sound) -> AsyncGenerator[Message, None]:
        """Yield what is still to be told of a job that is closed, as a connection would; raises ClientError."""
        while True:
            try:
                record = await get_job(self._servers[self._turn], self._job.job_id)
            except (UnreachableError, UnavailableError) as exc:
                await self._pause(exc, sound)
                continue
            self._outage.connected(asyncio.get_running_loop().time())
            self._outage.progress()
            messages = retell(record)
            for message in filter(self._is_news, messages):
                yield message
            if messages and messages[-1]["type"] == "final_summary":
                return
            await asyncio.sleep(_LOOK_EVERY)

    def _is_news(self, message: Message) -> bool:
        """Note how far the job is; False for what was told before, and for what is final by now."""
        match message:
            case {"type": "connection_success", "next_sample": int(sample)}:
                self._outage.connected(asyncio.get_running_loop().time())
                self._reached(sample)
            case {"type": "ack", "samples": int(samples)}:
                self._reached(samples)
            case {"type": "transcript_segment", "index": int(index)}:
                if index in self._told:
                    return False
                self._told.add(index)
                if isinstance(end := message.get("end"), int | float):
                    self._told_until = max(self._told_until, end)
                self._outage.progress()
            case {"type": "partial", "start": int() | float() as start}:
                return start >= self._told_until
            case {"type": "speech_started", "start": int() | float() as start}:
                if start < self._told_until or start <= self._started:
                    return False
                self._started = start
        return True

    def _reached(self, samples: int) -> None:
        if samples > self.stored:
            self.stored = samples
            self._outage.progress()

    async def _pause(self, why: ServerError | UnreachableError, sound: Sound) -> None:
        """Wait before the next attempt, which is the next server's; raises UnreachableError to give up."""
        retry_after = why.retry_after if isinstance(why, ServerError) else None
        # Chance spreads clients that lost the same server; it is no secret.
        wait = self._outage.pause(asyncio.get_running_loop().time(), random.random(), retry_after)  # noqa: S311
        kept = sound.tail.kept / RATE
        if wait is None:
            loss = f"; {kept:.1f} s of sound were not delivered" if kept else ""
            patience = self._outage.give_up_after
            raise UnreachableError(f"gave up on job {self._job.job_id} after {patience:g} s: {why}{loss}") from why
        self._turn = (self._turn + 1) % len(self._servers)
        self._on_reconnect(
            Reconnecting(self._job.job_id, self._outage.attempt, round(wait, 3), round(kept, 3), str(why))
        )
        await asyncio.sleep(wait)
