"""uvicorn's WebSocket protocol with a shortcut: most of what a capture sends is whole binary frames.

Such a frame is taken out of what arrived and handed over at once, where uvicorn would parse it step by step, put it
into a queue, stop reading and wake a task that starts reading again: three quarters of what it takes to receive one.
Everything else (text, fragments, control frames, anything wrong) goes the usual way, in the order in which it came.
An application asks for it by an ASGI extension; one that does not is served as ever.
"""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from edge.capture.connection import await_bytes
from edge.capture.frames import MASKED, TWO_BYTES, whole_frames

MESSAGES = "stenobus.messages"
"""Extension of the scope; its value is the connection's `ShortcutProtocol`."""

MAX_MESSAGE = 1_048_576
"""Bytes in one message that are read at all; the session refuses less than that with a better sentence."""

Hear = Callable[[bytes | list[bytes] | str], None]


class ShortcutProtocol(WebSocketsSansIOProtocol):
    """One connection. Once `attach` was called, only the disconnect comes by ASGI's `receive`."""

    _hear: Hear | None = None
    _left = 0  # bytes that are still to come of the frame that the parser is at
    _head = b""  # the beginning of a frame, too short to say how long it is

    def attach(self, hear: Hear) -> None:
        """From now on have `hear` called with each message, or with those that came together, if they are binary.

        It is first called with those that came already.
        """
        self._hear = hear
        self.resume()
        for _ in range(self.queue.qsize()):
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                hear(event.get("bytes") or b"" if text is None else text)
            else:
                self.queue.put_nowait(event)

    @property
    def ready(self) -> bool:
        """Whether the connection is open, and the client reads."""
        return self.conn.state is State.OPEN and not self.transport.is_closing() and self.writable.is_set()

    def offer(self, text: str) -> bool:
        """Send a text message if the connection is ready; else False."""
        if not self.ready:
            return False
        self.conn.send_text(text.encode())
        self.transport.write(b"".join(self.conn.data_to_send()))
        return True

    def pause(self) -> None:
        """Read no more for now."""
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def await_bytes(self, count: int) -> None:
        """Read nothing before so many bytes have come."""
        await_bytes(self.transport, count)

    def handle_connect(self, event: Request) -> None:
        """As uvicorn has it, and the extension."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]
            extensions[MESSAGES] = self

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`."""
        if not self.handshake_initiated:
            super().data_received(data)
            return
        at = 0
        if self._hear is not None and not (self._left or self._head or self.frames):
            messages, at = whole_frames(data)
            if messages and not self.close_sent:
                self._hear(messages)
        if at < len(data):
            rest = data[at:] if at else data
            self._follow(rest)
            super().data_received(rest)

    def send_receive_event_to_app(self) -> None:
        """Hand over a message that came the usual way."""
        if self._hear is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        data = b"".join(self.frames)
        try:
            said = data.decode() if self.curr_msg_data_type == "text" else data
        except UnicodeDecodeError:
            super().send_receive_event_to_app()  # which closes the connection
            return
        self.frames = []
        self._hear(said)

    def _follow(self, data: bytes) -> None:
        """Know where frames end in what goes the usual way."""
        if self._head:
            data, self._head = self._head + data, b""
        at, size = self._left, len(data)
        while at < size:
            length = _frame_bytes(data, at)
            if length is None:
                self._head = data[at:]
                break
            at += length
        self._left = max(0, at - size)


def _frame_bytes(data: bytes, at: int) -> int | None:
    """Length of the frame that begins here, with its head; None: more of it is needed to tell."""
    if len(data) < at + 2:
        return None
    masked, length = divmod(data[at + 1], MASKED)
    more = {TWO_BYTES: 2, 127: 8}.get(length, 0)
    if len(data) < at + 2 + more:
        return None
    if more:
        length = int.from_bytes(data[at + 2 : at + 2 + more])
    return 2 + more + 4 * masked + length
