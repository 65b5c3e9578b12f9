"""uvicorn's WebSocket protocol with a fast path and with limits.

Most of what a capture sends is whole binary frames. Such a frame is taken out of what was read and handed over at once.
uvicorn would parse it step by step, put it into a queue, stop reading and wake a task that starts reading again: three
quarters of what it takes to receive one. Everything else (text, fragments, control frames, anything wrong) goes through
its parser, in the order in which it came. An application asks for the fast path by an ASGI extension.

The limits hold for every WebSocket: fragments of a message, pongs to a client that does not read, and the time that a
closed connection may take to end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from struct import Struct

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # in C, where that is built
from websockets.http11 import Request
from websockets.protocol import State

from contract.socket import Close

FAST_PATH = "stenobus.fast_path"
"""Extension of the ASGI scope; its value is the connection's `CaptureProtocol`."""

MAX_MESSAGE = 1_048_576
"""Bytes of a message that are read at all. The session refuses smaller ones, and says why."""

MAX_FRAGMENTS = 1_000
"""Of one message. An empty one costs memory, too."""

CLOSE_WITHIN = 10.0
"""Seconds after the end of a capture in which the client must have read what it was sent, or lose it."""

_HEAD = Struct(">BBH")
_BINARY = 0x82
"""First byte of a whole binary message without extensions (RFC 6455, section 5.2)."""
_MASKED, _TWO_BYTES, _EIGHT_BYTES = 0x80, 126, 127
"""In the second byte: the mask bit, and lengths that say that two or eight bytes of length follow."""
_PONG = 0x80 | Opcode.PONG

Receiver = Callable[[bytes | list[bytes] | str], None]


class CaptureProtocol(WebSocketsSansIOProtocol):
    """One connection. Once `attach` was called, ASGI's `receive` only gives the disconnect."""

    _receiver: Receiver | None = None
    _remaining = 0  # bytes that are still to come of the frame that uvicorn's parser has begun
    _partial_head = b""  # the beginning of a frame, too short to tell its length
    _last_pong: bytes | None = None  # not sent yet, because the client does not read
    _abort_timer: asyncio.TimerHandle | None = None

    def attach(self, receiver: Receiver) -> None:
        """Call `receiver` with each message from now on, or with binary ones that were read together.

        It is called first with those that have come already.
        """
        self._receiver = receiver
        self.resume()
        for _ in range(self.queue.qsize()):
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                receiver(event.get("bytes") or b"" if text is None else text)
            else:
                self.queue.put_nowait(event)

    @property
    def ready(self) -> bool:
        """Whether the connection is open, and the client reads."""
        return self.conn.state is State.OPEN and not self.transport.is_closing() and self.writable.is_set()

    def offer(self, text: str) -> bool:
        """Send a text message if the connection is ready; returns whether it was sent."""
        if not self.ready:
            return False
        self.conn.send_text(text.encode())
        self.transport.write(b"".join(self.conn.data_to_send()))
        return True

    def pause(self) -> None:
        """Stop reading."""
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def await_bytes(self, count: int) -> None:
        """Do not wake up before `count` bytes are there, or the end, where the system can do that."""
        with suppress(OSError, AttributeError):  # closed meanwhile, or a system that cannot
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def abort_later(self) -> None:
        """End the connection after a while, even if the client has not read all that it was sent."""
        if self._abort_timer is None and not self.disconnected:
            self._abort_timer = self.loop.call_later(CLOSE_WITHIN, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """As of `asyncio.Protocol`."""
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        super().resume_writing()
        if self._last_pong is not None:
            self.transport.write(self._last_pong)
            self._last_pong = None

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`."""
        if not self.handshake_initiated:
            super().data_received(data)
            return
        at = 0
        if self._receiver is not None and not (self._remaining or self._partial_head or self.frames):
            messages, at = whole_frames(data)
            if messages and not self.close_sent:
                self._receiver(messages)
        if at < len(data):
            rest = data[at:] if at else data
            self._follow(rest)
            super().data_received(rest)

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake as uvicorn does, and add the extension."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]
            extensions[FAST_PATH] = self

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment, unless the message has too many."""
        if self.close_sent:
            return
        if len(self.frames) >= MAX_FRAGMENTS:
            self.frames = []
            self.conn.fail(Close.TOO_LARGE, f"a message of more than {MAX_FRAGMENTS} fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Send the pong; to a client that does not read only the last one (RFC 6455, section 5.5.3)."""
        output = self.conn.data_to_send()
        if not self.writable.is_set():
            pongs = [frame for frame in output if frame[:1] == bytes([_PONG])]
            output = [frame for frame in output if frame[:1] != bytes([_PONG])]
            self._last_pong = pongs[-1] if pongs else self._last_pong
        if output:
            self.transport.write(b"".join(output))

    def handle_close(self, event: Frame) -> None:
        """Answer the closing handshake."""
        super().handle_close(event)
        self.abort_later()

    def handle_parser_exception(self) -> None:
        """Close the connection of a client that has broken the protocol."""
        super().handle_parser_exception()
        self.abort_later()

    def send_receive_event_to_app(self) -> None:
        """Hand over a message that went through the parser."""
        if self._receiver is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        data = b"".join(self.frames)
        try:
            message = data.decode() if self.curr_msg_data_type == "text" else data
        except UnicodeDecodeError:  # uvicorn would log it with its traceback, each time
            self.frames = []
            self.conn.fail(CloseCode.INVALID_DATA, "a text message is not UTF-8")
            self.handle_parser_exception()
            return
        self.frames = []
        self._receiver(message)

    def _follow(self, data: bytes) -> None:
        """Keep track of where frames end in what goes through the parser."""
        if self._partial_head:
            data, self._partial_head = self._partial_head + data, b""
        at, size = self._remaining, len(data)
        while at < size:
            length = _frame_bytes(data, at)
            if length is None:
                self._partial_head = data[at:]
                break
            at += length
        self._remaining = max(0, at - size)


def whole_frames(data: bytes) -> tuple[list[bytes], int]:
    """The whole binary messages of up to 65,535 bytes that `data` begins with; it must begin with a client's frame.

    Also gives where the first frame begins that is something else, or incomplete.
    """
    messages = []
    at, size = 0, len(data)
    while at + 8 <= size:
        first, second, length = _HEAD.unpack_from(data, at)
        if first != _BINARY:
            break
        begin = at + 8
        if second != _MASKED | _TWO_BYTES:
            begin, length = at + 6, second - _MASKED
            if not 0 <= length < _TWO_BYTES:  # not masked, which is an error, or longer than this is for
                break
        end = begin + length
        if end > size:
            break
        messages.append(apply_mask(data[begin:end], data[begin - 4 : begin]))
        at = end
    return messages, at


def _frame_bytes(data: bytes, at: int) -> int | None:
    """Length of the frame that begins at `at`, with its head; None if its head is incomplete."""
    if len(data) < at + 2:
        return None
    masked, length = divmod(data[at + 1], _MASKED)
    more = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(length, 0)
    if len(data) < at + 2 + more:
        return None
    if more:
        length = int.from_bytes(data[at + 2 : at + 2 + more])
    return 2 + more + 4 * masked + length
