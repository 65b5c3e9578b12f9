"""A small HTTP server that receives webhooks, answers as a test wants, and remembers what it received."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support import wait_until


@dataclass(frozen=True)
class Delivery:
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    port: int = 0
    answers: list[Response] = field(default_factory=list)
    """The next answers, in order; 204 after the last one."""
    silent: bool = False
    """Accept requests, and never answer."""
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=hidden"

    async def receive(self, request: Request) -> Response:
        self.deliveries.append(Delivery(dict(request.headers), await request.body()))
        if self.silent:
            await asyncio.Event().wait()
        return self.answers.pop(0) if self.answers else Response(status_code=204)


@asynccontextmanager
async def serving(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Run on 127.0.0.1, on the receiver's port or a free one."""
    routes = [Route("/hook", receiver.receive, methods=["GET", "POST"])]
    config = uvicorn.Config(Starlette(routes=routes), port=receiver.port, log_config=None, ws="none", lifespan="off")
    runner = uvicorn.Server(config)
    task = asyncio.create_task(runner.serve())
    try:
        await wait_until(lambda: runner.started or task.done(), description="the receiver is up")
        receiver.port = runner.servers[0].sockets[0].getsockname()[1]
        yield receiver
    finally:
        runner.should_exit = runner.force_exit = True
        await task
