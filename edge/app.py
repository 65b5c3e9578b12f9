"""The routes of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from bus import Bus
from edge import web
from edge.capture.asgi import CaptureSocket
from edge.rest import erasure
from edge.rest import routes as rest
from edge.rest.problem import HANDLERS
from edge.services import Settings, services
from store.jobs import StoreSettings


def application(bus: Bus, settings: Settings, store: StoreSettings) -> Starlette:
    """The edge as an ASGI application; its lifespan opens the store and the publisher, not the bus."""
    capture = CaptureSocket()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with services(bus, settings, store) as shared, erasure.sweeping(shared):
            app.state.services = shared
            app.state.peaks_lock = asyncio.Lock()
            yield

    return Starlette(
        routes=[
            *rest.routes(),
            WebSocketRoute("/api/v1/stream/{job_id}", capture),
            WebSocketRoute("/ws/{job_id}", capture),
            *web.routes(),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
