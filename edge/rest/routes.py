"""Every route of REST, with what the documentation says of it: `/openapi.json` and `/docs` are made from this table."""

from __future__ import annotations

from collections import defaultdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contract import asyncapi
from contract.view import (
    ClosedView,
    CountedView,
    CreatedView,
    DeadLetterListView,
    ExportView,
    HealthView,
    JobListView,
    JobView,
    OpenedView,
    PeaksView,
    ReadyView,
    ReplayView,
    RetryView,
    SummaryView,
    TranscriptView,
)
from edge.rest import about, audio, deadletters, erasure, events, jobs, openapi, reference, replays
from edge.rest.export import FORMATS
from edge.rest.openapi import Endpoint, Handler
from edge.rest.request import GenerationQuery

_JOB = "/api/v1/jobs/{job_id}"


async def get_openapi(request: Request) -> Response:
    """`GET /openapi.json`: this interface, OpenAPI 3.1."""
    return await about.serve_document(request, "application/json", _openapi)


async def get_docs(request: Request) -> Response:
    """`GET /docs`: this interface as a page."""
    return await about.serve_document(request, "text/html", _docs, reference.HEADERS)


def _openapi(root: str) -> str:
    return openapi.document(ENDPOINTS, root)


def _docs(root: str) -> str:
    return reference.page(openapi.specification(ENDPOINTS), root)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        *("POST", "/api/v1/stream/create", jobs.create_job, "Jobs", "Create a job"),
        body=jobs.CreateBody,
        answers={201: CreatedView},
        errors=(400, 413, 422, 503),
    ),
    Endpoint(
        *("GET", "/api/v1/jobs", jobs.list_jobs, "Jobs", "List and search jobs"),
        query=jobs.ListQuery,
        answers={200: JobListView},
        errors=(422, 503),
    ),
    Endpoint(
        *("GET", _JOB, jobs.get_job, "Jobs", "Show a job"),
        query=GenerationQuery,
        answers={200: JobView},
        errors=(404, 410, 422, 503),
    ),
    Endpoint(
        *("DELETE", _JOB, erasure.erase_job, "Jobs", "Erase a job"),
        answers={204: None},
        errors=(404, 409, 503),
    ),
    Endpoint(
        *("POST", f"{_JOB}/replay", replays.create_replay, "Jobs", "Transcribe a job again"),
        body=replays.ReplayBody,
        answers={202: ReplayView},
        errors=(400, 404, 409, 410, 413, 422, 503),
    ),
    Endpoint(
        *("GET", f"{_JOB}/events", events.stream_events, "Jobs", "Follow a job"),
        headers={"Last-Event-ID": "Continue after this event."},
        answers={200: {"text/event-stream": None}, 204: None},
        events={
            "opened": OpenedView,
            "transcript": TranscriptView,
            "closed": ClosedView,
            "segmented": CountedView,
            "summary": SummaryView,
            "completed": CountedView,
        },
        errors=(400, 404, 410, 422, 503),
    ),
    Endpoint(
        *("GET", _JOB + "/transcript.{format}", jobs.download_transcript, "Files", "Download a transcript"),
        query=GenerationQuery,
        answers={200: {form.media_type: ExportView if name == "json" else None for name, form in FORMATS.items()}},
        errors=(404, 410, 422, 503),
    ),
    Endpoint(
        *("GET", f"{_JOB}/audio.wav", audio.get_audio, "Files", "Play or download the audio"),
        query=audio.AudioQuery,
        headers={"Range": "One range of bytes.", "If-Range": "Ignore `Range` unless this is the ETag of the audio."},
        answers={200: {"audio/wav": None}, 206: {"audio/wav": None}},
        errors=(404, 410, 416, 422, 503),
    ),
    Endpoint(
        *("GET", f"{_JOB}/peaks", audio.get_peaks, "Files", "Get the peaks of the audio"),
        query=audio.PeaksQuery,
        answers={200: PeaksView},
        errors=(404, 410, 422, 503),
    ),
    Endpoint(
        *("GET", "/api/v1/dead", deadletters.list_dead_letters, "Dead letters", "List dead letters"),
        query=deadletters.DeadLetterQuery,
        answers={200: DeadLetterListView},
        errors=(422, 503),
    ),
    Endpoint(
        *("POST", "/api/v1/dead/{job_id}/{stream}/{seq}/retry", deadletters.retry_dead_letter),
        *("Dead letters", "Try a dead message again"),
        answers={202: RetryView},
        errors=(404, 409, 410, 503),
    ),
    Endpoint(
        *("GET", "/healthz", about.get_health, "Server", "Check that it runs"),
        answers={200: HealthView},
    ),
    Endpoint(
        *("GET", "/readyz", about.get_readiness, "Server", "Check that it is ready"),
        answers={200: ReadyView, 503: ReadyView},
    ),
    Endpoint(
        *("GET", "/asyncapi.json", about.get_asyncapi, "Server", "Get the description of bus and capture socket"),
        answers={200: {asyncapi.MEDIA_TYPE: None}, 304: None},
        headers={"If-None-Match": "ETag of the document that the client has."},
    ),
    Endpoint(
        *("GET", "/openapi.json", get_openapi, "Server", "Get the description of REST"),
        answers={200: {"application/json": None}, 304: None},
        headers={"If-None-Match": "ETag of the document that the client has."},
    ),
    Endpoint("GET", "/docs", get_docs, "Server", "Read the description of REST", {200: {"text/html": None}}),
)


def routes() -> list[BaseRoute]:
    """One route for each path, so that the answer to any other method names all that it has."""
    handlers: defaultdict[str, dict[str, Handler]] = defaultdict(dict)
    for endpoint in ENDPOINTS:
        handlers[endpoint.path][endpoint.method] = endpoint.handler
    return [Route(path, _dispatch(methods), methods=[*methods]) for path, methods in handlers.items()]


def _dispatch(handlers: dict[str, Handler]) -> Handler:
    if len(handlers) == 1:
        (handler,) = handlers.values()
        return handler

    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return dispatch
