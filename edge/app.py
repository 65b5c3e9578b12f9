"""The routes of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from bus import Bus
from edge import web
from edge.capture.asgi import CaptureSocket
from edge.rest import about, audio, deadletters, erasure, events, jobs, replays
from edge.rest.problem import HANDLERS
from edge.services import Settings, services
from store.jobs import StoreSettings


async def _job(request: Request) -> Response:
    # One route for both, so that the answer to any other method names both.
    return await (erasure.erase_job(request) if request.method == "DELETE" else jobs.get_job(request))


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
            Route("/healthz", about.get_health),
            Route("/readyz", about.get_readiness),
            Route("/asyncapi.json", about.get_asyncapi),
            Route("/api/v1/stream/create", jobs.create_job, methods=["POST"]),
            Route("/api/v1/jobs", jobs.list_jobs),
            Route("/api/v1/jobs/{job_id}", _job, methods=["GET", "DELETE"]),
            Route("/api/v1/jobs/{job_id}/replay", replays.create_replay, methods=["POST"]),
            Route("/api/v1/jobs/{job_id}/events", events.stream_events),
            Route("/api/v1/jobs/{job_id}/transcript.{format}", jobs.download_transcript),
            Route("/api/v1/jobs/{job_id}/audio.wav", audio.get_audio),
            Route("/api/v1/jobs/{job_id}/peaks", audio.get_peaks),
            Route("/api/v1/dead", deadletters.list_dead_letters),
            Route("/api/v1/dead/{job_id}/{stream}/{seq:int}/retry", deadletters.retry_dead_letter, methods=["POST"]),
            WebSocketRoute("/api/v1/stream/{job_id}", capture),
            WebSocketRoute("/ws/{job_id}", capture),
            *web.routes(),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
