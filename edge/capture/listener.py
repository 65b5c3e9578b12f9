"""The capture socket on a port of its own, with picows: parsed in C, with less memory for each connection.

picows hands over frames, and what RFC 6455 says of messages is left to us: continuation frames, the closing handshake,
answers to pings while a client does not read, reserved bits. Compression is offered by no side and never agreed on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl, unquote_to_bytes

import picows
import structlog
from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport

from edge.capture.capture import serve
from edge.capture.connection import Inlet, await_bytes
from edge.capture.frames import PROTOCOL_ERROR, Messages, Violation, answer_to_close
from edge.capture.reading import Reading
from edge.services import Services

log = structlog.get_logger()

MAX_MESSAGE = 1_048_576
"""Bytes in one message that are read at all; the session refuses less than that with a better sentence."""

PING_EVERY = 20.0
"""Seconds between pings, so that nothing on the way forgets a quiet connection. No pong is waited for: a client is not
heard while its audio waits for the bus."""

_CLOSE_WITHIN = 10.0
"""Seconds that a client has for its side of the closing handshake."""

_STOP_WITHIN, _LEAVE_WITHIN, _ABORT_WITHIN = 2.0, 0.5, 0.2
"""Seconds that captures, the closing handshakes of their clients and what was aborted have when the process stops."""

_BACKLOG = 2048
_READ_BUFFER = 4096
"""Bytes, for each connection; picows makes it larger where more comes at once."""

_PATH = re.compile(r"/(?:api/v1/stream|ws)/([^/]+)")
_BINARY, _TEXT, _CLOSE = WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CLOSE
_HEADER_ROOM = 14

# A name would have picows make a logger for each connection. What it has to say is about clients, and as loud for each
# chunk of garbage as it comes.
_SILENT = logging.LoggerAdapter(logging.getLogger("edge.capture.listener.picows"), {})
_SILENT.setLevel(logging.CRITICAL)


@asynccontextmanager
async def listening(services: Services, sock: socket.socket) -> AsyncIterator[None]:
    """Serve captures on a bound socket while the block runs and the bus is not stopping."""
    clients = _Clients(services)
    server = await picows.ws_create_server(
        clients.route,
        sock=sock,
        backlog=_BACKLOG,
        max_frame_size=MAX_MESSAGE,  # where picows sees more it closes, but may still hand the frame over
        read_buffer_init_size=_READ_BUFFER,
        enable_auto_pong=False,
        logger_name=_SILENT,
        use_aiofastnet=False,
    )
    stopping = asyncio.create_task(services.bus.stopping.wait())
    closing = asyncio.create_task(clients.leave(server, stopping))
    try:
        yield
    finally:
        stopping.cancel()  # where it is not the bus that stops
        await closing


class _Clients:
    """All clients of one port."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.connections: set[_Connection] = set()
        self.captures: set[asyncio.Task[None]] = set()
        """They may outlast their connections: a job waits for its client."""

    def route(self, request: picows.WSUpgradeRequest) -> _Connection | picows.WSUpgradeResponseWithListener:
        """What picows is to do with a request."""
        found = _route(request)
        if isinstance(found, picows.WSUpgradeResponse):
            return picows.WSUpgradeResponseWithListener(found, None)
        return _Connection(self, *found)

    async def leave(self, server: asyncio.Server, stopping: asyncio.Task[bool]) -> None:
        """Once it is `stopping`: let all clients go to another edge, in good order as far as time allows."""
        await asyncio.wait([stopping])
        server.close()
        for connection in list(self.connections):
            connection.give_up()
        if self.captures:
            _, late = await asyncio.wait(self.captures, timeout=_STOP_WITHIN)
            for capture in late:
                capture.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for within in (_LEAVE_WITHIN, _ABORT_WITHIN):
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await asyncio.gather(*(connection.ended.wait() for connection in self.connections))
            for connection in list(self.connections):
                connection.abort()


def _route(request: picows.WSUpgradeRequest) -> tuple[str, str | None] | picows.WSUpgradeResponse:
    """The job and the sample that a request names, or why it cannot be served."""
    path, _, query = request.path.partition(b"?")
    found = _PATH.fullmatch(unquote_to_bytes(path).decode(errors="replace"))
    if found is None:
        return _refusal(404, "this port has the capture socket /api/v1/stream/{job_id} and nothing else")
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return _refusal(400, "this is the address of a WebSocket")
    # Browsers may say "keep-alive, Upgrade"; picows takes one word only.
    connection = ",".join(request.headers.getall("Connection", [])).lower().split(",")
    if "upgrade" in (word.strip() for word in connection):
        request.headers["Connection"] = "upgrade"
    return found[1], dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("sample")


def _refusal(status: int, says: str) -> picows.WSUpgradeResponse:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    response: picows.WSUpgradeResponse = picows.WSUpgradeResponse.create_error_response(
        status, f"{says}\n".encode(), headers
    )
    return response


class _Connection(picows.WSListener):
    """One client: what picows calls, and what a capture wants of it."""

    def __init__(self, clients: _Clients, job_id: str, sample: str | None) -> None:
        self.ended = asyncio.Event()
        self._clients = clients
        self._wanted = job_id, sample
        self._inlet = Inlet(self)
        self._messages = Messages(MAX_MESSAGE)
        self._closing = False
        self._reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._unanswered: bytes | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        underlying = transport.underlying_transport
        self._direct = Reading(underlying.get_protocol(), self._inlet.hear)
        underlying.set_protocol(self._direct)
        self._timer = asyncio.get_running_loop().call_later(PING_EVERY, self._ping)
        self._clients.connections.add(self)
        capture = asyncio.create_task(self._serve())
        self._clients.captures.add(capture)
        capture.add_done_callback(self._clients.captures.discard)
        if self._clients.services.bus.stopping.is_set():
            self.give_up()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self._closing:
            if kind == _CLOSE:
                transport.disconnect()
            return
        try:
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                raise Violation(PROTOCOL_ERROR, "a reserved bit is set, and no extension was agreed on")
            if kind == _BINARY and frame.fin and not self._messages.begun and frame.payload_size <= MAX_MESSAGE:
                self._inlet.hear(frame.get_payload_as_bytes())
            else:
                self._take(kind, frame)
            self._direct.between_frames = not (frame.tail_size or self._messages.begun or self._closing)
        except Violation as broken:
            self._hang_up(broken.code, str(broken))
            self._inlet.leave(broken.code)
        except Exception:
            log.exception("capture failed", job=self._wanted[0])
            self._hang_up(1011, "internal")
            self._inlet.leave(1011)

    def _take(self, kind: WSMsgType, frame: WSFrame) -> None:
        if kind == WSMsgType.PING:
            self._answer(frame.get_payload_as_bytes())
        elif kind == _CLOSE:
            code = frame.get_close_code().value
            self._hang_up(answer_to_close(code), "")
            self._transport.disconnect()
            self._inlet.leave(code or 1005)
        elif kind != WSMsgType.PONG:
            payload, fin = frame.get_payload_as_bytes(), frame.fin
            if kind == WSMsgType.CONTINUATION:
                message = self._messages.continuation(payload, fin=fin)
            else:
                message = self._messages.data(payload, text=kind == _TEXT, fin=fin)
            if message is not None:
                self._inlet.hear(message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._closing = True
        self._timer.cancel()
        self._clients.connections.discard(self)
        self._writable.set()
        self.ended.set()
        self._inlet.leave(1006)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._unanswered is not None:
            self._answer(self._unanswered)

    @property
    def ready(self) -> bool:
        return self._writable.is_set() and not self._closing

    async def send(self, text: str) -> None:
        await self._writable.wait()
        self.offer(text)

    def offer(self, text: str) -> bool:
        if not self.ready:
            return False
        # Not `send`: from 8 KiB on it lends uvloop a header that its next message overwrites (picows 2.3.1).
        message = bytearray(_HEADER_ROOM)
        message += text.encode()
        self._transport.send_reuse_external_bytearray(_TEXT, message, _HEADER_ROOM)
        return True

    async def close(self, code: int, reason: str) -> None:
        self._hang_up(code, reason)

    def pause(self) -> None:
        if self._reading and not self._transport.underlying_transport.is_closing():
            self._reading = False
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        if not self._reading and not self._transport.underlying_transport.is_closing():
            self._reading = True
            self._transport.underlying_transport.resume_reading()

    def await_bytes(self, count: int) -> None:
        await_bytes(self._transport.underlying_transport, count)

    def give_up(self) -> None:
        """The process stops: the client is to go to another one."""
        self._hang_up(1012, "")
        self._inlet.leave(1012)

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.disconnect(graceful=False)

    async def _serve(self) -> None:
        try:
            await serve(self, self._inlet, self._clients.services, *self._wanted)
        except Exception:
            log.exception("capture failed", job=self._wanted[0])
        finally:
            self._hang_up(1011, "internal")

    def _hang_up(self, code: int, reason: str) -> None:
        """Begin the closing handshake, unless it has begun."""
        if self._closing:
            return
        self._closing = True
        self._direct.between_frames = False  # so that all goes to picows, and nowhere from there
        self._transport.send_close(WSCloseCode(code), reason.encode())
        self.resume()  # the answer comes behind whatever is still on its way
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_CLOSE_WITHIN, self.abort)

    def _ping(self) -> None:
        if self._transport.is_close_frame_sent:  # by picows; a client that does not read has not seen it yet
            self.abort()
            return
        if self._writable.is_set():
            self._transport.send_ping()
        self._timer = asyncio.get_running_loop().call_later(PING_EVERY, self._ping)

    def _answer(self, ping: bytes) -> None:
        """To a client that does not read only the last one counts (RFC 6455, section 5.5.3)."""
        if self._writable.is_set():
            self._transport.send_pong(ping)
            self._unanswered = None
        else:
            self._unanswered = ping
