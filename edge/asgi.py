"""The capture socket on the port that serves everything else, too: an ASGI application for Starlette's routes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from edge.capture import serve
from edge.connection import Inlet
from edge.services import Services
from edge.shortcut import MESSAGES, ShortcutProtocol


class CaptureSocket:
    """`WS /api/v1/stream/{job_id}`: audio in, acks, transcript segments and the summary out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. ASGI's own `receive`: a Starlette `WebSocket` checks its state for each message."""
        await receive()  # websocket.connect
        connection = _Connection(send, scope.get("extensions", {}).get(MESSAGES))
        await connection.accept()
        services: Services = scope["app"].state.services
        inlet = Inlet(connection)
        connection.attach(inlet)
        reading = asyncio.create_task(connection.read(receive, inlet))
        try:
            sample = QueryParams(scope["query_string"]).get("sample")
            await serve(connection, inlet, services, scope["path_params"]["job_id"], sample)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class _Connection:
    def __init__(self, send: Send, shortcut: ShortcutProtocol | None) -> None:
        self._send = send
        self._shortcut = shortcut
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def accept(self) -> None:
        await self._tell({"type": "websocket.accept"})

    def attach(self, inlet: Inlet) -> None:
        """Have messages go straight to the inlet, where the server can do that."""
        if self._shortcut is not None:
            self._shortcut.attach(inlet.hear)

    async def read(self, receive: Receive, inlet: Inlet) -> None:
        """Until the client is gone. While nobody receives, the server does not read from the connection."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                inlet.leave(message.get("code", 1005))
                return
            data = message.get("bytes")
            inlet.hear(message["text"] if data is None else data)
            if not self._flowing.is_set():
                await self._flowing.wait()

    async def send(self, text: str) -> None:
        await self._tell({"type": "websocket.send", "text": text})

    def offer(self, text: str) -> bool:
        return self._shortcut is not None and self._shortcut.offer(text)

    async def close(self, code: int, reason: str) -> None:
        await self._tell({"type": "websocket.close", "code": code, "reason": reason})

    def pause(self) -> None:
        if self._shortcut is None:
            self._flowing.clear()
        else:
            self._shortcut.pause()

    def resume(self) -> None:
        if self._shortcut is None:
            self._flowing.set()
        else:
            self._shortcut.resume()

    async def _tell(self, message: Message) -> None:
        with suppress(OSError, RuntimeError):  # the client is gone, or the connection closed: `read` tells
            await self._send(message)
