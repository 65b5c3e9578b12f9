"""A response that is made while it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = structlog.get_logger()

PATIENCE = 60.0
"""Seconds that a client may take nothing of what it is sent, after which it is given up."""


class Stream(Response):
    """Sends what a generator yields, one piece at a time: while the client does not read, nothing more is made.

    The generator is closed when the client has left, or takes nothing any more.
    """

    def __init__(
        self, body: AsyncGenerator[bytes, None], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = status
        self.background = None
        self._pieces = body
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; of a HEAD request only the headers."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await self._pieces.aclose()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        sending, leaving = asyncio.create_task(self._send(send)), asyncio.create_task(_left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = sending.done()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if ended:
            sending.result()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                except TimeoutError:
                    log.warning("response given up", reason=f"the client took nothing for {PATIENCE:g} s")
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
