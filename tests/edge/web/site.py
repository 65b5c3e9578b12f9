"""The page without the system behind it: its files over HTTP, and the modules that test it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from edge import web
from edge.rest.problem import HANDLERS
from tests.support import wait_until

UNITS = Path(__file__).parent / "units"


@dataclass(frozen=True)
class Site:
    url: str


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    """Run on a free port of 127.0.0.1."""
    routes = [*web.routes(), Mount("/units", StaticFiles(directory=UNITS))]
    config = uvicorn.Config(
        Starlette(routes=routes, exception_handlers=HANDLERS),
        port=0,
        log_config=None,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    runner = uvicorn.Server(config)
    task = asyncio.create_task(runner.serve())
    try:
        await wait_until(lambda: runner.started or task.done(), description="the page is served")
        yield Site(f"http://127.0.0.1:{runner.servers[0].sockets[0].getsockname()[1]}")
    finally:
        runner.should_exit = True
        await task
