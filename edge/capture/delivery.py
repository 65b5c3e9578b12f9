"""What a client gets: events of its job, interim results, acks, and why its connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress

import structlog

from bus import AudioTrack, Bus
from contract import Completed, ContractError, Progress, read_event
from contract.socket import Close, SocketError, SocketMessage
from edge.capture.ownership import Live
from edge.capture.pacing import PERIOD
from edge.capture.receive_queue import Connection
from edge.capture.session import Session

log = structlog.get_logger()

_CLOSE_WITHIN = 5.0
"""Seconds for the last message and the close frame; a client that does not read is not waited for longer."""


class Delivery:
    """Sends one connection's messages, one after the other."""

    __slots__ = (
        "_bus",
        "_clock",
        "_connection",
        "_durable",
        "_interim",
        "_job",
        "_sending",
        "_session",
        "_status_has_lag",
        "_track",
        "completed_at",
    )

    def __init__(self, connection: Connection, bus: Bus, session: Session, track: AudioTrack) -> None:
        self.completed_at = 0.0
        """When the last audio was stored; the final ack waits a while after it."""
        self._connection = connection
        self._bus = bus
        self._job = track.job
        self._session = session
        self._track = track
        self._clock = asyncio.get_running_loop().time
        self._durable = track.stored  # what was stored one tick ago
        self._status_has_lag = True
        self._interim = asyncio.Event()
        self._sending = asyncio.Lock()

    async def send_events(self, welcome: SocketMessage) -> None:
        """Send `welcome`, then what is published about the job; after the summary close the connection and return."""
        await self.send(welcome)
        async with aclosing(self._bus.read("EVENTS", f"events.{self._job}.>")) as stored:
            async for raw in stored:
                event = read_event(raw.subject, raw.data, _log_unreadable)
                if isinstance(event, Completed):
                    await self._send_last_ack()
                await self.send(self._session.on_event(event) if event else None)
                if isinstance(event, Completed):
                    break
                await self.send(self._session.status(self._track.sent, lag=False))
        await self._connection.close(Close.DONE, "")

    async def _send_last_ack(self) -> None:
        await asyncio.sleep(max(0.0, self.completed_at + PERIOD - self._clock()))
        await self.send(self._session.ack(self._track.stored, complete=True))

    def on_live(self, message: Live) -> None:
        """Take what the workers report about the open segment."""
        if isinstance(message, Progress):
            self._session.on_progress(message)
        else:
            self._session.interim.update(message)
            self._interim.set()

    async def send_interim(self) -> None:
        """Send interim results until cancelled, always the newest one."""
        while True:
            await self._interim.wait()
            self._interim.clear()
            while await self._send_next(self._session.interim.next):
                pass

    def tick(self, *, owned: bool) -> None:
        """Send an ack and every second time a status, if the client reads; no ack unless the job is `owned` for sure.

        An ack trails by one tick, more than two of the server's sync intervals of 200 ms: what an ack
        calls durable has then reached the disk, and not only the page cache.
        """
        if owned and self._connection.ready and not self._sending.locked():
            self._status_has_lag = not self._status_has_lag
            ack = self._session.ack(self._durable)
            status = self._session.status(self._track.sent, lag=self._status_has_lag)
            for message in (ack, status):
                if message is not None:
                    self._connection.offer(message.model_dump_json())
        self._durable = self._track.stored

    async def send(self, message: SocketMessage | None) -> None:
        """Send a message, after those that are being sent; None is nothing."""
        if message is None:
            return
        # Mostly nothing else is being sent and the client reads: then there is nothing to wait for.
        if self._sending.locked() or not self._connection.offer(message.model_dump_json()):
            await self._send_next(lambda: message)

    async def _send_next(self, next_message: Callable[[], SocketMessage | None]) -> bool:
        """Send what is the next message when its turn comes; returns whether there was one."""
        async with self._sending:
            message = next_message()
            if message is not None:
                await self._connection.send(message.model_dump_json())
            return message is not None

    async def end(self, code: str, message: str, close: Close) -> None:
        """Send why the connection ends, and close it."""
        await end_connection(self._connection, SocketError(code=code, message=message), close)


async def end_connection(connection: Connection, error: SocketError, close: Close) -> None:
    """Send an error and close the connection."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_WITHIN):
            await connection.send(error.model_dump_json())
            await connection.close(close, error.code)


def _log_unreadable(subject: str, error: ContractError) -> None:
    log.warning("event cannot be read", subject=subject, reason=str(error))
