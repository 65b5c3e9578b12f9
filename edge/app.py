"""The routes of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from bus import Bus
from edge import dead, jobs
from edge.capture import capture
from edge.problem import HANDLERS
from edge.services import Services, Settings, services
from store.jobs import StoreSettings


async def healthz(_request: Request) -> JSONResponse:
    """`GET /healthz`: this process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """`GET /readyz`: 200 when the bus, the store and a worker of each kind are there, else 503 and what is missing."""
    shared: Services = request.app.state.services
    checks = await shared.checks()
    ready = all(check == "ok" for check in checks.values())
    return JSONResponse({"status": "ready" if ready else "waiting", "checks": checks}, 200 if ready else 503)


def application(bus: Bus, settings: Settings, store: StoreSettings) -> Starlette:
    """The edge as an ASGI application; its lifespan opens the store and the publisher, not the bus."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with services(bus, settings, store) as shared:
            app.state.services = shared
            yield

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/stream/create", jobs.create, methods=["POST"]),
            Route("/api/v1/jobs/{job_id}", jobs.get),
            Route("/api/v1/dead", dead.listing),
            Route("/api/v1/dead/{job_id}/{stream}/{seq:int}/retry", dead.retry, methods=["POST"]),
            WebSocketRoute("/api/v1/stream/{job_id}", capture),
            WebSocketRoute("/ws/{job_id}", capture),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
