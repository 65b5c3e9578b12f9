"""The listener: uvicorn on one port, with limits on what a client may cost before its request is understood.

uvicorn bounds neither the head of a request nor the time that a client takes to send one.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import TimerHandle, Transport
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bus import StartError
from edge.capture.protocol import MAX_MESSAGE, CaptureProtocol
from edge.origin import KnownHosts, KnownOrigins
from edge.proxy import ForwardedHeaders
from edge.services import Settings

RECEIVE_BUFFER = 32_768
"""Bytes of the kernel's receive buffer that are asked for, for each connection; Linux doubles them."""

MAX_HEAD, MAX_HEADERS = 16_384, 100
"""Bytes of a request's first line and headers, and the number of headers."""

REQUEST_WITHIN = 10.0
"""Seconds in which a whole request must arrive; each `BODY_STEP` bytes of a body buy them again."""

BODY_STEP = 65_536

_HEAD_TOO_LARGE = "the request line and headers are too large"


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection; it becomes a `CaptureProtocol` by a WebSocket handshake."""

    _deadline: TimerHandle | None = None
    _in_head = True
    _received = False  # the whole request, and it is not answered yet
    _unparsed = 0  # bytes that were read of a head that is not complete
    _head = 0  # bytes of the head that were parsed
    _body = 0  # bytes of the body since the deadline was moved
    _too_large = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """As of `asyncio.Protocol`."""
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """As of `asyncio.Protocol`."""
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`."""
        if self._deadline is None and not self._received:
            self._set_deadline()  # another request on the same connection
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._unparsed += len(data)
            if self._unparsed > MAX_HEAD:
                self._refuse(431, _HEAD_TOO_LARGE)

    def handle_websocket_upgrade(self) -> None:
        """Go on as a WebSocket."""
        self._clear_deadline()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed."""
        if self._too_large:
            self._refuse(431, _HEAD_TOO_LARGE)
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._received = True, False
        self._unparsed = self._head = self._body = 0
        if self._deadline is None:
            self._set_deadline()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the path was parsed."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header was parsed."""
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head was parsed."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body was parsed."""
        super().on_body(body)
        self._body += len(body)
        if self._body >= BODY_STEP:
            self._body = 0
            self._set_deadline()

    def on_message_complete(self) -> None:
        """The whole request was parsed."""
        self._clear_deadline()
        super().on_message_complete()
        self._received = self.cycle is not None and not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """The request was answered."""
        if self._received:
            self._received, self._in_head, self._unparsed = False, True, 0
        super().on_response_complete()

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD or len(self.headers) >= MAX_HEADERS:
            self._too_large = True
            raise ValueError  # the parser stops, and uvicorn calls `send_400_response`

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(REQUEST_WITHIN, self._on_deadline)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # the client is not to blame
            self._set_deadline()
        elif self._in_head and not self._unparsed:
            self.transport.close()
        elif not self.transport.is_closing():
            self._refuse(408, "the request did not arrive in time")

    def _refuse(self, status: int, reason: str) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = f"{reason}\n".encode()
            headers = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + headers % len(body) + body)
        self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to `bus.run`."""
        yield


def guarded(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application behind what decides whether it sees a request, and as what."""
    app = KnownOrigins(app, settings.origins)
    app = ForwardedHeaders(app, trusted=settings.trusted_proxies, root_path=settings.root_path)
    hosts = settings.hosts
    if settings.capture_url is not None:
        hosts = f"{hosts},{urlsplit(settings.capture_url).hostname}"
    # Before proxies are followed: a page under a stranger's name can send their headers, too.
    return KnownHosts(app, hosts)


async def serve(app: ASGIApp, sockets: list[socket.socket], stopping: asyncio.Event) -> None:
    """Serve until `stopping`, then end what is under way."""
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=CaptureProtocol,
        lifespan="off",
        proxy_headers=False,  # `edge.proxy` follows them, and some more
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,  # speech does not compress; it costs CPU and up to 300 kB a connection
        # Nothing is read from a client while its audio waits for the bus: a missing pong must not end its connection.
        ws_ping_timeout=None,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        server.should_exit = True
        await serving


@contextmanager
def listen(host: str, port: int, *, reuse: bool) -> Iterator[list[socket.socket]]:
    """Bind a port; with `reuse` the kernel shares connections out among processes of the same user.

    `::` is every address, those of IPv4 too. They have a socket of their own, or a client's address would be written as
    `::ffff:192.0.2.1`, which no list of trusted proxies has.
    """
    hosts = ("::", "0.0.0.0") if host == "::" else (host,)  # noqa: S104 - it was asked for
    with ExitStack() as stack:
        try:
            sockets = [stack.enter_context(_bound(one, port, reuse=reuse)) for one in hosts]
        except (OSError, UnicodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is no name of a host"
            raise StartError(f"cannot listen on {host} port {port} (EDGE_HOST, EDGE_PORT): {why}") from exc
        yield sockets


def _bound(host: str, port: int, *, reuse: bool) -> socket.socket:
    found = [family for family, *_ in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    family = socket.AF_INET if socket.AF_INET in found else socket.AF_INET6
    try:
        listening = socket.create_server((host, port), family=family, reuse_port=reuse)
    except ValueError as exc:
        raise StartError(f"EDGE_REUSE_PORT: this system cannot share a port between processes ({exc})") from exc
    # Inherited by each connection. What the kernel holds for a connection that waits is also what arrives at once when
    # it is read again, so a small buffer bounds both; it still lets a distant client send at ten times real time.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return listening
