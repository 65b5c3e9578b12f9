"""One WebSocket of a job, as cheap as it gets: a frame is one call and one write, whatever the server does."""

from __future__ import annotations

import asyncio
import json
from array import array
from time import monotonic
from typing import Any

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.load.report import Meeting, Told
from bench.load.sound import Sound
from contract import RATE

_STOP = json.dumps({"command": "stop"}).encode()
OPEN_WITHIN = 30.0
"""Seconds that a server may take for the handshake."""


class ClientFailed(Exception):
    """The server did not serve a client as it should; the message says what it did."""


class Client(WSListener):
    """`welcomed`, `ended`: done once the server has said so, or failed with ClientFailed."""

    def __init__(self, sound: Sound, place: int, frame_ms: int, *, times: bool) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.samples = 0
        self.acked = 0
        self.began = 0.0
        self._sound = sound
        self._next = place
        self._frame_samples = frame_ms * RATE // 1_000
        self._times = times
        self._handed = array("d")
        self._told: list[Told] = []
        self._transport: WSTransport | None = None
        self._close: int | None = None
        self._text = b""
        self._stopped = self._leaves = self._told_all = False

    def send_frame(self) -> None:
        """Hand the next frame to the socket; what that does not take at once waits in memory."""
        if self._transport is None or self._stopped:
            return
        if self._times or not self.samples:
            now = monotonic()
            self.began = self.began or now
            if self._times:
                self._handed.append(now - self.began)
        self.samples += self._frame_samples
        self._transport.send(WSMsgType.BINARY, self._sound.frame(self._next))
        self._next += 1

    def stop(self, *, leave: bool) -> None:
        """There is no more sound. leave: go once all is acked, else stay until the summary."""
        self._stopped, self._leaves = True, leave
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, _STOP)
            self._leave_if_done()

    def abort(self) -> None:
        """Leave without a word."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def meeting(self, stream: int, job: str, asked: float, error: str | None) -> Meeting:
        """What became of it."""
        frame_ms = self._frame_samples * 1_000 // RATE
        handed = [round(seconds, 4) for seconds in self._handed]
        times = asked, self.began, monotonic()
        return Meeting(stream, job, *times, self.samples, self.acked, frame_ms, self._close, error, self._told, handed)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            self._close = int.from_bytes(payload[:2], "big") if len(payload) > 1 else None
            if not transport.is_close_frame_sent:
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._text += frame.get_payload_as_bytes()
            if frame.fin:
                text, self._text = self._text, b""
                self._take(json.loads(text), monotonic())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport = None
        if self._told_all or (self._leaves and self.acked >= self.samples):
            self._settle(self.ended)
        said = "without a word" if self._close is None else f"by the server with {self._close}"
        self._fail(f"the connection was closed {said}")

    def _take(self, message: dict[str, Any], now: float) -> None:
        kind = message["type"]
        if kind == "ack":
            self.acked = message["samples"]
            self._leave_if_done()
        elif kind == "error" or message.get("error"):
            self._fail(f"the server answered {message.get('code') or kind}: {message.get('message') or message}")
        elif kind == "connection_success":
            self._settle(self.welcomed)
        elif kind == "transcript_segment":
            self._told.append(Told(message["index"], round(message["end"] * RATE), now, message["text"]))
        elif kind == "final_summary":
            self._told_all = True

    def _leave_if_done(self) -> None:
        done = self._leaves and self.acked >= self.samples
        if done and self._transport is not None and not self._transport.is_close_frame_sent:
            self._transport.send_close(WSCloseCode.OK)

    def _settle(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    def _fail(self, reason: str) -> None:
        for future in (self.welcomed, self.ended):
            if not future.done():
                future.set_exception(ClientFailed(reason))
                future.exception()  # it is told in the meeting, whoever waits


async def open_client(url: str, client: Client) -> None:
    """Connect a client to the WebSocket of a job. Raises ClientFailed."""
    try:
        await ws_connect(lambda: client, url, websocket_handshake_timeout=OPEN_WITHIN)
    except (WSError, OSError, TimeoutError) as exc:
        raise ClientFailed(f"no WebSocket at {url.partition('/api')[0]}: {exc or type(exc).__name__}") from exc
