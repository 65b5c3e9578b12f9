"""The capture socket as an ASGI application for Starlette's routes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import QueryParams
from starlette.types import Message, Receive, Scope, Send

from contract.socket import Close
from edge.capture.capture import serve
from edge.capture.protocol import FAST_PATH, CaptureProtocol
from edge.capture.receive_queue import ReceiveQueue
from edge.services import Services


class CaptureSocket:
    """`WS /api/v1/stream/{job_id}`: audio in; acks, transcript segments and the summary out.

    It needs the server of `python -m edge`, which hands over messages without a task for each. unknown_job: the code
    that closes a connection whose job does not exist.
    """

    def __init__(self, unknown_job: Close = Close.NO_SUCH_JOB) -> None:
        self._unknown_job = unknown_job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await receive()  # websocket.connect
        protocol: CaptureProtocol = scope["extensions"][FAST_PATH]
        connection = _Connection(send, protocol)
        await connection.accept()
        services: Services = scope["app"].state.services
        queue = ReceiveQueue(connection)
        disconnect = asyncio.create_task(_receive_disconnect(receive, queue))
        try:
            protocol.attach(queue.put)
            job_id, sample = scope["path_params"]["job_id"], QueryParams(scope["query_string"]).get("sample")
            await serve(connection, queue, services, job_id, sample, unknown_job=self._unknown_job)
        finally:
            protocol.abort_later()
            disconnect.cancel()
            await asyncio.gather(disconnect, return_exceptions=True)


async def _receive_disconnect(receive: Receive, queue: ReceiveQueue) -> None:
    """Tell the queue when the client is gone; nothing else comes this way."""
    message = await receive()
    queue.disconnect(message.get("code", 1005))


class _Connection:
    def __init__(self, send: Send, protocol: CaptureProtocol) -> None:
        self._send = send
        self._protocol = protocol
        self.pause = protocol.pause
        self.resume = protocol.resume
        self.offer = protocol.offer
        self.await_bytes = protocol.await_bytes

    @property
    def ready(self) -> bool:
        return self._protocol.ready

    async def accept(self) -> None:
        await self._send_event({"type": "websocket.accept"})

    async def send(self, text: str) -> None:
        await self._send_event({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._send_event({"type": "websocket.close", "code": code, "reason": reason})

    async def _send_event(self, message: Message) -> None:
        with suppress(OSError, RuntimeError):  # the client is gone, or the connection closed
            await self._send(message)
