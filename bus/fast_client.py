"""A second connection to the server, for what there is a message of every 30 ms of every job: NATS lines by hand.

nats-py makes a task switch and several objects for each message, about 22 us for a publish with its ack; here it is 4.
So only publishing with a reply subject and plain subscriptions are here, and everything else stays with nats-py. Lines
are written at most once in `FLUSH` seconds, which makes one system call of many at the server, too.
Source for the protocol: "Client Protocol" of the NATS documentation.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

import structlog

from bus.stream import Bus

log = structlog.get_logger()

FLUSH = 0.005
"""Least seconds between two writes: what comes after a quiet time is written at once."""

FULL_READ = 200_000
"""Bytes; where as much is read at once, more is waiting. What the event loops read at most is a little more."""

_OPEN_WITHIN = 5.0
_AGAIN_AFTER = 0.25
_PING_EVERY = 5.0

_WITH_HEADERS = ord("H")
_MESSAGES = (ord("M"), _WITH_HEADERS)

Handler = Callable[[bytes, bytes, bytes], None]
"""Called with the subject, the header lines (empty where there are none) and the payload of a message."""


class FastClientError(Exception):
    """The server does not let us in, or does not speak NATS."""


class FastClient:
    """An async context manager: connected for as long as it is open, and again whenever the line broke.

    What is published while the line is away is dropped, and what was under way may be lost: `reconnected` is called
    when it is back, and subscriptions are made again before that.
    """

    def __init__(self, bus: Bus) -> None:
        self.reconnected: set[Callable[[], None]] = set()
        self._bus = bus
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
        self._keeping = asyncio.create_task(self._keep_open(self._connection))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        if self._connection is not None:
            self._flush()
            self._connection.close()
            self._connection = None

    @property
    def ready(self) -> bool:
        """Whether there is a line to the server, and it handlers what is written."""
        return self._connection is not None and not self._connection.congested

    @property
    def read_delay(self) -> float:
        """Seconds for which nothing is read after what had come was read: much at a time is cheaper than often."""
        return self._read_delay

    @read_delay.setter
    def read_delay(self, seconds: float) -> None:
        self._read_delay = seconds
        if self._connection is not None:
            self._connection.read_delay = seconds

    def new_inbox(self) -> str:
        """A subject prefix for replies to this program alone."""
        return self._bus.nc.new_inbox()

    def send(self, message: bytes) -> None:
        """Send a whole `PUB` with its payload."""
        # Whether a flush is due shows in the list, so that a message costs little more than its place there.
        self._outgoing.append(message)
        if len(self._outgoing) == 1:
            self._schedule()

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a message that nobody answers."""
        self.send(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))

    def subscribe(self, subject: str, take: Handler) -> bytes:
        """Call `take` with what is published on a subject from now on; returns the subscription's id."""
        self._count += 1
        sid = b"%d" % self._count
        self._subjects[sid], self._handlers[sid] = subject, take
        if self._connection is not None:
            self._connection.write(b"SUB %b %b\r\n" % (subject.encode(), sid))
        return sid

    def unsubscribe(self, sid: bytes) -> None:
        """End a subscription."""
        del self._subjects[sid], self._handlers[sid]
        if self._connection is not None:
            self._connection.write(b"UNSUB %b\r\n" % sid)

    async def flushed(self) -> None:
        """Return once the server has dealt with all that was sent; at once where the line is away."""
        if self._connection is not None:
            self._flush()
            with suppress(ConnectionError):
                await self._connection.ping()

    def _schedule(self) -> None:
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

    async def _keep_open(self, line: _Connection) -> None:
        while True:
            await line.broken()
            log.warning("audio line lost", url=self._bus.url)
            self._connection = None
            self._flush()  # to nowhere
            line = await self._open()
            for sid, subject in self._subjects.items():
                line.write(b"SUB %b %b\r\n" % (subject.encode(), sid))
            self._connection = line
            line.read_delay = self._read_delay
            for wake in list(self.reconnected):
                wake()

    async def _open(self) -> _Connection:
        """A line to the server that nats-py has found; waits for it for as long as it handlers."""
        while True:
            if (address := self._bus.nc.connected_url) is not None:
                line = _Connection(self._handlers)
                try:
                    async with asyncio.timeout(_OPEN_WITHIN):
                        assert address.hostname  # noqa: S101 - narrows the type: nats-py is connected there
                        await line.open(address.hostname, address.port or 4222, self._bus.url, self._bus.name)
                    return line
                except (OSError, TimeoutError, ValueError, FastClientError) as exc:
                    line.close()
                    log.warning("audio line cannot be opened, trying again", reason=str(exc) or type(exc).__name__)
            await asyncio.sleep(_AGAIN_AFTER)


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
        self._heard = False
        self._paused = False
        self._refusal = ""
        self.congested = False
        """Whether more is waiting to be written than should."""
        self.read_delay = 0.0
        """As of `FastClient`, once it is open."""

    async def open(self, host: str, port: int, url: str, name: str) -> None:
        """Connect and introduce ourselves; raises OSError, ValueError or FastClientError where that fails."""
        self._transport, _ = await self._loop.create_connection(lambda: self, host, port)
        info = await self._info
        if info.get("tls_required") or urlsplit(url).scheme == "tls":
            context = ssl.create_default_context()
            self._transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        self.write(b"CONNECT %b\r\n" % json.dumps(_introduction(url, name)).encode())
        try:
            await self.ping()
        except ConnectionError as exc:
            raise FastClientError(str(exc)) from exc

    def close(self) -> None:
        """Send what is buffered, and end."""
        if self._transport is not None:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send whole lines."""
        if self._transport is not None and not self._lost.done():
            self._transport.write(data)

    async def ping(self) -> None:
        """Return when the server has dealt with all before; raises ConnectionError where the line breaks."""
        if self._lost.done():
            raise ConnectionError("the line is lost")
        pong = self._loop.create_future()
        self._pongs.append(pong)
        self.write(b"PING\r\n")
        await pong

    async def broken(self) -> None:
        """Return once the line is lost, or the server has been silent for too long."""
        while True:
            self._heard = False
            self.write(b"PING\r\n")  # also so that a server that stands still is noticed
            self._pongs.append(self._loop.create_future())
            with suppress(TimeoutError):
                async with asyncio.timeout(_PING_EVERY):
                    await asyncio.shield(self._lost)
            if self._lost.done():
                return
            if not self._heard and self._transport is not None:
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
                pong.exception()  # it may have no reader
        if not self._lost.done():
            self._lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`: all whole messages are taken, what is left of one waits for more."""
        self._heard = True
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
            take = handlers.get(words[2])
            if take is not None:  # else it was under way when the subscription ended
                try:
                    take(words[1], data[begin:body], data[body:end])
                except Exception:  # what one subscriber cannot deal with is not to end the line of all
                    log.exception("message not dealt with", subject=words[1].decode(errors="replace"))
        self._rest = data[at:]

    def _pause(self) -> None:
        transport = self._transport
        if not self._paused and transport is not None and not transport.is_closing():
            self._paused = True
            transport.pause_reading()
            self._loop.call_later(self.read_delay, self._read_on)

    def _read_on(self) -> None:
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
            if not self._info.done():  # further ones tell of other servers, which is nats-py's concern
                self._info.set_result(json.loads(line[5:]))
        elif line.startswith(b"-ERR"):
            self._refusal = line[5:].decode(errors="replace").strip("'")
            log.error("audio line: the server refuses", error=self._refusal)


def _introduction(url: str, name: str) -> dict[str, Any]:
    """What CONNECT says; who we are is in the address, as nats-py has it."""
    parts = urlsplit(url)
    who: dict[str, Any] = {}
    if parts.username is not None and parts.password is None:
        who = {"auth_token": parts.username}
    elif parts.username is not None:
        who = {"user": parts.username, "pass": parts.password}
    return who | {
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
