"""The capture socket on the port that serves everything else, too: an ASGI application for Starlette's routes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from edge.capture.capture import serve
from edge.capture.connection import Inlet
from edge.capture.shortcut import MESSAGES, ShortcutProtocol
from edge.services import Services


class CaptureSocket:
    """`WS /api/v1/stream/{job_id}`: audio in, acks, transcript segments and the summary out.

    The server has to be `python -m edge`, whose connections hand over what a client says without a task for it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await receive()  # websocket.connect
        connection = _Connection(send, scope["extensions"][MESSAGES])
        await connection.accept()
        services: Services = scope["app"].state.services
        inlet = Inlet(connection)
        leaving = asyncio.create_task(_leave(receive, inlet))
        try:
            connection.attach(inlet)
            sample = QueryParams(scope["query_string"]).get("sample")
            await serve(connection, inlet, services, scope["path_params"]["job_id"], sample)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


async def _leave(receive: Receive, inlet: Inlet) -> None:
    """Tell the inlet when the client is gone: nothing else is received here."""
    message = await receive()
    inlet.leave(message.get("code", 1005))


class _Connection:
    def __init__(self, send: Send, shortcut: ShortcutProtocol) -> None:
        self._send = send
        self._shortcut = shortcut
        self.pause = shortcut.pause
        self.resume = shortcut.resume
        self.offer = shortcut.offer
        self.await_bytes = shortcut.await_bytes

    @property
    def ready(self) -> bool:
        return self._shortcut.ready

    async def accept(self) -> None:
        await self._tell({"type": "websocket.accept"})

    def attach(self, inlet: Inlet) -> None:
        self._shortcut.attach(inlet.hear)

    async def send(self, text: str) -> None:
        await self._tell({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._tell({"type": "websocket.close", "code": code, "reason": reason})

    async def _tell(self, message: Message) -> None:
        with suppress(OSError, RuntimeError):  # the client is gone, or the connection closed: `_leave` tells
            await self._send(message)
