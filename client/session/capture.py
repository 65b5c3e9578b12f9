"""A whole capture: creates a job, delivers its audio over as many connections as that takes, yields its messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from client.api import CreatedJob, create_job, get_job, socket_url, try_each
from client.errors import JobClosedError, ServerError, TakenOverError, UnavailableError, UnreachableError
from client.reading import Json, read_message
from client.session.connection import exchange
from client.session.messages import ROUNDING, Deduplicator, catch_up
from client.session.outgoing import LIVE_MS, UPLOAD_MS
from client.session.polling import poll
from client.session.retry import GIVE_UP_AFTER, Outage, Reconnecting
from client.session.sender import Sender
from contract import RATE
from contract.socket import SocketWelcome
from contract.view import View


async def capture(
    servers: Sequence[str],
    source: AsyncIterable[bytes],
    options: Mapping[str, Any] | None = None,
    *,
    frame_ms: int | None = None,
    fast: bool = False,
    stop: asyncio.Event | None = None,
    keepalive: float = 10.0,
    give_up_after: float = GIVE_UP_AFTER,
    on_reconnect: Callable[[Reconnecting], None] = lambda _: None,
) -> AsyncGenerator[Json]:
    """Send `source` (chunks of mono 16 kHz s16le of any size) as a new job; yield every message until the end.

    Audio is sent in real time in frames of `frame_ms`, 10 to 1,000 (None: LIVE_MS), or with `fast` as quickly as the
    server accepts it (None: UPLOAD_MS). A broken connection is replaced by one to the next of `servers`, which
    continues where the server has the audio; meanwhile up to a minute of audio is kept. Each segment is yielded once.
    `on_reconnect` is called before each attempt. Setting `stop` ends the audio early; the rest of the transcript and
    the summary still come.

    Raises UnreachableError when no server answers, or after `give_up_after` seconds without a connection and without
    progress; ServerError when a server refuses, or audio could not be delivered; and whatever `source` raises: no job
    is created if its first chunk cannot be read. Closing the generator ends the job's audio.
    """
    chunks = aiter(source)
    head = await anext(chunks, b"")
    first, job = await try_each(servers, lambda server: create_job(server, options or {}))
    sender = Sender(frame_ms or (UPLOAD_MS if fast else LIVE_MS), paced=not fast)
    reading = asyncio.create_task(sender.read(head, chunks, stop or asyncio.Event()))
    session = _Session(job, [*servers[first:], *servers[:first]], sender, Outage(give_up_after), on_reconnect)
    try:
        try:
            async with aclosing(session.deliver(keepalive)) as messages:
                async for message in messages:
                    yield message
            return
        except JobClosedError:
            complete = sender.ended
            reading.cancel()
        async with aclosing(session.catch_up()) as messages:
            async for message in messages:
                yield message
        session.check_delivered(complete=complete)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class _Session:
    """One job over several connections, one after the other."""

    def __init__(
        self,
        job: CreatedJob,
        servers: Sequence[str],
        sender: Sender,
        outage: Outage,
        on_reconnect: Callable[[Reconnecting], None],
    ) -> None:
        self._job = job
        self._servers = servers
        self._sockets = [job.ws_url, *(socket_url(server, job.job_id) for server in servers[1:])]
        self._turn = 0
        self._sender = sender
        self._outage = outage
        self._on_reconnect = on_reconnect
        self._known = Deduplicator()
        self._abandoned = 0

    async def deliver(self, keepalive: float) -> AsyncGenerator[Json]:
        """Yield messages until the summary, reconnecting as needed; raises as `exchange` does."""
        while True:
            ws_url = self._sockets[self._turn]
            try:
                async with aclosing(exchange(ws_url, self._sender, keepalive=keepalive)) as messages:
                    async for raw, message in messages:
                        if self._is_new(message):
                            yield raw
            except (UnreachableError, UnavailableError) as exc:
                self._abandoned += 1
                await self._wait(exc)
            except TakenOverError as exc:
                # A connection that we had abandoned may have reached its server late and taken the job over from this
                # one. Each can do so once; anybody else keeps the job.
                if not self._abandoned:
                    raise
                self._abandoned -= 1
                await self._wait(exc)
            else:
                return

    async def catch_up(self) -> AsyncGenerator[Json]:
        """Yield the rest of a job that was closed, from its record; raises ClientError."""
        async with aclosing(poll(lambda: get_job(self._servers[self._turn], self._job.job_id), self._wait)) as records:
            async for record in records:
                self._outage.connected(asyncio.get_running_loop().time())
                self._outage.progress()
                messages = catch_up(record)
                for raw in messages:
                    if self._is_new(read_message(raw)):
                        yield raw
                if messages and messages[-1]["type"] == "final_summary":
                    return

    def check_delivered(self, *, complete: bool) -> None:
        """Raise ServerError if a closed job lacks audio. complete: the source had ended before."""
        if not complete or self._known.stored + ROUNDING < self._sender.backlog.end:
            raise ServerError(
                f"job {self._job.job_id} was closed while there was no connection: "
                f"the audio from {self._known.stored / RATE:.1f} s on was not delivered"
            )
        if self._sender.error is not None:
            raise self._sender.error

    def _is_new(self, message: View | None) -> bool:
        before = self._known.stored, self._known.finals
        if isinstance(message, SocketWelcome):
            self._outage.connected(asyncio.get_running_loop().time())
        new = self._known.is_new(message)
        if (self._known.stored, self._known.finals) != before:
            self._outage.progress()
        return new

    async def _wait(self, why: ServerError | UnreachableError) -> None:
        """Wait before the next attempt, at the next server; raises UnreachableError to give up."""
        # Jitter spreads clients that lost the same server; it is no secret.
        delay = self._outage.next_delay(asyncio.get_running_loop().time(), random.random(), why.retry_after)  # noqa: S311
        kept = self._sender.backlog.unacked / RATE
        if delay is None:
            loss = f"; {kept:.1f} s of audio were not delivered" if kept else ""
            limit = self._outage.give_up_after
            raise UnreachableError(f"gave up on job {self._job.job_id} after {limit:g} s: {why}{loss}") from why
        self._turn = (self._turn + 1) % len(self._servers)
        self._on_reconnect(
            Reconnecting(self._job.job_id, self._outage.attempt, round(delay, 3), round(kept, 3), str(why))
        )
        await asyncio.sleep(delay)
