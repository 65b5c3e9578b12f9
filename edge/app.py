"""The routes of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from bus import Bus
from contract.view import HealthView, ReadyView
from edge import web
from edge.capture.asgi import CaptureSocket
from edge.rest import dead, download, erase, events, jobs, listing, replay, sound
from edge.rest.asyncapi import asyncapi
from edge.rest.lookup import answer
from edge.rest.problem import HANDLERS
from edge.services import Services, Settings, services
from store.jobs import StoreSettings


async def healthz(_request: Request) -> JSONResponse:
    """`GET /healthz`: this process answers."""
    return answer(HealthView())


async def readyz(request: Request) -> JSONResponse:
    """`GET /readyz`: 200 when the bus, the store and a worker of each kind are there, else 503 and what is missing."""
    shared: Services = request.app.state.services
    checks = await shared.checks()
    ready = all(check == "ok" for check in checks.values())
    return answer(ReadyView(status="ready" if ready else "waiting", checks=checks), 200 if ready else 503)


async def _job(request: Request) -> Response:
    # One route for both, so that the answer to any other method names them.
    return await (erase.delete(request) if request.method == "DELETE" else jobs.get(request))


def application(bus: Bus, settings: Settings, store: StoreSettings) -> Starlette:
    """The edge as an ASGI application; its lifespan opens the store and the publisher, not the bus."""
    capture = CaptureSocket()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with services(bus, settings, store) as shared, erase.sweeping(shared):
            app.state.services = shared
            app.state.drawing = asyncio.Semaphore()
            yield

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/asyncapi.json", asyncapi),
            Route("/api/v1/stream/create", jobs.create, methods=["POST"]),
            Route("/api/v1/jobs", listing.listing),
            Route("/api/v1/jobs/{job_id}", _job, methods=["GET", "DELETE"]),
            Route("/api/v1/jobs/{job_id}/replay", replay.replay, methods=["POST"]),
            Route("/api/v1/jobs/{job_id}/events", events.events),
            Route("/api/v1/jobs/{job_id}/transcript.{format}", download.transcript),
            Route("/api/v1/jobs/{job_id}/audio.wav", sound.audio),
            Route("/api/v1/jobs/{job_id}/peaks", sound.peaks),
            Route("/api/v1/dead", dead.listing),
            Route("/api/v1/dead/{job_id}/{stream}/{seq:int}/retry", dead.retry, methods=["POST"]),
            WebSocketRoute("/api/v1/stream/{job_id}", capture),
            WebSocketRoute("/ws/{job_id}", capture),
            *web.routes(),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
