"""A second connection to the server, for audio, of which each job has a message every 30 ms.

nats-py makes a task switch and several objects for each message, about 22 us for a publish with its ack; writing the
protocol by hand takes 4. So this client only publishes and subscribes, and everything else stays with nats-py. It
writes at most once every `FLUSH` seconds, which turns many system calls into one, at the server as well.
Source for the protocol: "Client Protocol" of the NATS documentation.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import ParseResult

import structlog

from bus.connection import Connection
from bus.supervisor import Supervisor

log = structlog.get_logger()

FLUSH = 0.005
"""Seconds between two writes, at least. After a quiet time a message is written at once."""

FULL_READ = 200_000
"""Bytes. A read as large as this means that more is waiting: event loops read little more than that at a time."""

_OPEN_TIMEOUT = 5.0
_RETRY_AFTER = 0.25
_PING_EVERY = 5.0

_WITH_HEADERS = ord("H")
_MESSAGES = (ord("M"), _WITH_HEADERS)

Handler = Callable[[bytes, bytes, bytes], None]
"""Called with the subject, the header lines (empty where there are none) and the payload of a message."""


class FastClientError(Exception):
    """The server refuses the connection, or does not speak NATS."""


class FastClient:
    """Publishes and subscribes over a connection that is opened again whenever it breaks; an async context manager.

    Messages published while there is no connection are dropped, and those under way when it breaks may be lost. After
    each reconnection the client renews its subscriptions, then calls everything in `reconnected`.
    """

    def __init__(self, main: Connection) -> None:
        self.reconnected: set[Callable[[], None]] = set()
        self._main = main
        self._tasks = Supervisor()
        self._read_delay = 0.0
        self._connection: _Connection | None = None
        self._subjects: dict[bytes, str] = {}
        self._handlers: dict[bytes, Handler] = {}
        self._count = 0
        self._outgoing: list[bytes] = []
        self._flushed_at = 0.0  # seconds of the event loop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._connection = await self._open()
        await self._tasks.__aenter__()
        self._tasks.start(self._keep_open(self._connection), name="fast client")
        return self

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        try:
            await self._tasks.__aexit__(kind, exc, traceback)
        finally:
            if self._connection is not None:
                self._flush()
                self._connection.close()
                self._connection = None

    @property
    def ready(self) -> bool:
        """Whether there is a connection, and it is not congested."""
        return self._connection is not None and not self._connection.congested

    @property
    def read_delay(self) -> float:
        """Seconds to leave data in the kernel after each read: reading much at a time is cheaper than reading often."""
        return self._read_delay

    @read_delay.setter
    def read_delay(self, seconds: float) -> None:
        self._read_delay = seconds
        if self._connection is not None:
            self._connection.read_delay = seconds

    def new_inbox(self) -> str:
        """A subject prefix for replies to this process alone."""
        return self._main.nc.new_inbox()

    def send(self, message: bytes) -> None:
        """Send a complete `PUB` line with its payload."""
        # Only the first message in the list schedules a flush, so that the others cost little more than their place.
        self._outgoing.append(message)
        if len(self._outgoing) == 1:
            self._schedule_flush()

    def publish(self, subject: str, payload: bytes) -> None:
        """Publish a message without a reply subject."""
        self.send(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))

    def subscribe(self, subject: str, handler: Handler) -> bytes:
        """Call `handler` with each message published on a subject from now on; returns the subscription's id."""
        self._count += 1
        sid = b"%d" % self._count
        self._subjects[sid], self._handlers[sid] = subject, handler
        if self._connection is not None:
            self._connection.write(b"SUB %b %b\r\n" % (subject.encode(), sid))
        return sid

    def unsubscribe(self, sid: bytes) -> None:
        """End a subscription."""
        del self._subjects[sid], self._handlers[sid]
        if self._connection is not None:
            self._connection.write(b"UNSUB %b\r\n" % sid)

    async def flushed(self) -> None:
        """Return once the server has processed all that was sent; at once if there is no connection."""
        if self._connection is not None:
            self._flush()
            with suppress(ConnectionError):
                await self._connection.ping()

    def _schedule_flush(self) -> None:
        wait = self._flushed_at + FLUSH - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushed_at = self._loop.time()
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._connection is not None:
            self._connection.write(b"".join(outgoing))

    async def _keep_open(self, connection: _Connection) -> None:
        while True:
            await connection.broken()
            log.warning("audio connection lost", url=self._main.url)
            self._connection = None
            self._flush()  # drops what is waiting to be sent
            connection = await self._open()
            for sid, subject in self._subjects.items():
                connection.write(b"SUB %b %b\r\n" % (subject.encode(), sid))
            self._connection = connection
            connection.read_delay = self._read_delay
            for wake in list(self.reconnected):
                wake()

    async def _open(self) -> _Connection:
        """A connection to the server that nats-py is connected to; waits as long as it takes."""
        while True:
            if (address := self._main.nc.connected_url) is not None:
                connection = _Connection(self._handlers)
                try:
                    async with asyncio.timeout(_OPEN_TIMEOUT):
                        await connection.open(address, self._main)
                    return connection
                except (OSError, TimeoutError, ValueError, FastClientError) as exc:
                    connection.close()
                    log.warning("audio connection failed, trying again", reason=str(exc) or type(exc).__name__)
            await asyncio.sleep(_RETRY_AFTER)


class _Connection(asyncio.Protocol):
    """One TCP connection, from its handshake to its end."""

    def __init__(self, handlers: dict[bytes, Handler]) -> None:
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._info: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._pongs: list[asyncio.Future[None]] = []
        self._active = False
        self._paused = False
        self._refusal = ""
        self.congested = False
        """Whether too much is waiting to be written."""
        self.read_delay = 0.0
        """As in `FastClient`, once the connection is open."""

    async def open(self, address: ParseResult, main: Connection) -> None:
        """Connect to a server of `main` and authenticate; raises OSError, ValueError or FastClientError."""
        host, port = address.hostname or "", address.port or 4222
        self._transport, _ = await self._loop.create_connection(lambda: self, host, port)
        info = await self._info
        if info.get("tls_required") or address.scheme == "tls":
            context = ssl.create_default_context()
            name = main.certified_name(address)
            self._transport = await self._loop.start_tls(self._transport, self, context, server_hostname=name)
        login = main.credentials(address)
        self.write(b"CONNECT %b\r\n" % json.dumps(_connect_options(login, main.name)).encode())
        try:
            await self.ping()
        except ConnectionError as exc:
            raise FastClientError(str(exc)) from exc

    def close(self) -> None:
        """Send what is buffered, then disconnect."""
        if self._transport is not None:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send whole lines."""
        if self._transport is not None and not self._lost.done():
            self._transport.write(data)

    async def ping(self) -> None:
        """Return once the server has processed all that was written before; raises ConnectionError."""
        if self._lost.done():
            raise ConnectionError("the connection is lost")
        pong = self._loop.create_future()
        self._pongs.append(pong)
        self.write(b"PING\r\n")
        await pong

    async def broken(self) -> None:
        """Return once the connection is lost, or the server has been silent for too long."""
        while True:
            self._active = False
            self.write(b"PING\r\n")  # detects a server that hangs without closing the connection
            self._pongs.append(self._loop.create_future())
            with suppress(TimeoutError):
                async with asyncio.timeout(_PING_EVERY):
                    await asyncio.shield(self._lost)
            if self._lost.done():
                return
            if not self._active and self._transport is not None:
                self._transport.abort()
                return

    def pause_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        self.congested = True

    def resume_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        self.congested = False

    def connection_lost(self, exc: Exception | None) -> None:
        """As of `asyncio.Protocol`."""
        reason = ConnectionError(self._refusal or str(exc or "") or "the server has closed the connection")
        if not self._info.done():
            self._info.set_exception(reason)
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(reason)
                pong.exception()  # marks it as retrieved: nobody may be waiting for it
        if not self._lost.done():
            self._lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`: handles all complete messages, and keeps the rest until more comes."""
        self._active = True
        if self.read_delay and len(data) < FULL_READ:
            self._pause()
        if self._rest:
            data = self._rest + data
        at, size, find, handlers = 0, len(data), data.find, self._handlers
        while (eol := find(b"\r\n", at)) >= 0:
            kind = data[at]
            if kind not in _MESSAGES:
                self._on_line(data[at:eol])
                at = eol + 2
                continue
            words = data[at:eol].split()  # MSG subject sid [reply] bytes; HMSG ... header-bytes bytes
            begin = eol + 2
            end = begin + int(words[-1])
            if end + 2 > size:
                break
            body = begin + int(words[-2]) if kind == _WITH_HEADERS else begin
            at = end + 2
            handler = handlers.get(words[2])
            if handler is not None:  # None: the subscription ended while the message was under way
                try:
                    handler(words[1], data[begin:body], data[body:end])
                except Exception:  # one subscriber's failure must not end the connection that all of them share
                    log.exception("message handler failed", subject=words[1].decode(errors="replace"))
        self._rest = data[at:]

    def _pause(self) -> None:
        transport = self._transport
        if not self._paused and transport is not None and not transport.is_closing():
            self._paused = True
            transport.pause_reading()
            self._loop.call_later(self.read_delay, self._resume)

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _on_line(self, line: bytes) -> None:
        if line == b"PING":
            self.write(b"PONG\r\n")
        elif line == b"PONG":
            if self._pongs and not (pong := self._pongs.pop(0)).done():
                pong.set_result(None)
        elif line.startswith(b"INFO "):
            if not self._info.done():  # later ones announce other servers, which is up to nats-py
                self._info.set_result(json.loads(line[5:]))
        elif line.startswith(b"-ERR"):
            self._refusal = line[5:].decode(errors="replace").strip("'")
            log.error("audio connection: the server reports an error", error=self._refusal)


def _connect_options(login: dict[str, str], name: str) -> dict[str, Any]:
    """The options of CONNECT."""
    return {
        **login,
        "verbose": False,
        "pedantic": False,
        "headers": True,
        "no_responders": True,
        "echo": False,
        "name": f"{name} audio",
        "lang": "python",
        "version": "1",
        "protocol": 1,
    }
