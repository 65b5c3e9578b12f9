"""Jobs over REST: create one, show one, list them, download a transcript."""

from __future__ import annotations

import json
import uuid
from typing import Any, get_args

from pydantic import ConfigDict, Field, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from contract import ContractError, JobOptions, Opened, State, Transcript, seconds, transcript_text
from contract.view import CreatedView, GenerationView, JobEntryView, JobListView, JobView, ProgressView, SegmentView
from contract.webhook import Targets
from edge.capture.session import excerpt
from edge.rest.events import extra_events
from edge.rest.export import FORMATS, disposition, file_name, title_of
from edge.rest.problem import Problem
from edge.rest.replays import generation_views, read_count
from edge.rest.request import (
    GenerationQuery,
    Query,
    VadBody,
    bad_field,
    bus_deadline,
    check_languages,
    find_job,
    in_record,
    read_body,
    read_query,
    read_segments,
    respond,
)
from edge.services import Services, Settings
from store.job import Entry, Job
from store.listing import BadCursor
from store.search import Search

_LISTED: tuple[State, ...] = tuple(state for state in get_args(State) if state != "deleted")


SAMPLE_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Those of sound hardware and codecs. A resampler for an odd rate takes megabytes: its filter has a phase for each."""

MAX_METADATA = 8_192
"""Bytes of a job's metadata as JSON."""


class CreateBody(JobOptions):
    """What a client may ask for when it creates a job. Unlike in messages on the bus, unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    vad: VadBody = VadBody()

    @field_validator("sample_rate")
    @classmethod
    def _listed_rate(cls, rate: int) -> int:
        if rate not in SAMPLE_RATES:
            raise ValueError(f"{rate} is not a sample rate; accepted are {', '.join(map(str, SAMPLE_RATES))}")
        return rate


class ListQuery(Query):
    """Which jobs are listed."""

    status: tuple[State, ...] = Field(
        (),
        description="Only jobs in one of these states, with commas between.",
        json_schema_extra={"items": {"type": "string", "enum": [*_LISTED]}},
    )
    limit: int = Field(50, ge=1, le=200, description="Most jobs in one answer.")
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the answer before.")
    q: str = Field("", max_length=200, description="Words that must all occur in title, transcript or summary.")

    @field_validator("status", mode="before")
    @classmethod
    def _states(cls, value: str) -> tuple[str, ...]:
        states = tuple(state.strip() for state in value.split(",") if state.strip())
        if not set(states) <= set(_LISTED):
            raise ValueError(f"accepted are {', '.join(_LISTED)}, or several of them with commas between")
        return states


async def create_job(request: Request) -> JSONResponse:
    """`POST /api/v1/stream/create`: 201 with the job's id and the address of its capture socket."""
    services: Services = request.app.state.services
    options = await read_body(CreateBody, request)
    _check_options(options)
    _check_webhook(options.webhook_url, services.webhook_targets)
    if trouble := services.trouble():
        raise Problem(503, trouble, retry_after=services.settings.retry_after)
    job_id = uuid.uuid4().hex
    await services.store.create(job_id, _job_options(options, services.settings))
    ws_url = f"{_sockets(request, services.settings)}/api/v1/stream/{job_id}"
    return respond(CreatedView(job_id=job_id, ws_url=ws_url), 201)


def _job_options(asked: CreateBody, settings: Settings) -> JobOptions:
    """The options of the job; what the client leaves to the server is decided once, here."""
    correct = settings.correct if asked.correct is None else asked.correct
    return JobOptions(**asked.model_dump() | {"correct": correct and asked.source == "live"})


def _sockets(request: Request, settings: Settings) -> str:
    """The address below which the client of a request reaches capture sockets."""
    if settings.capture_url is not None:
        return settings.capture_url
    url = request.url
    return f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}{request.scope['root_path']}"


def _check_options(options: CreateBody) -> None:
    """Raise Problem 422 for unknown languages, and for metadata that is too large or cannot be stored."""
    check_languages(options)
    try:
        size = len(json.dumps(options.metadata, ensure_ascii=False, separators=(",", ":")).encode())
        if size > MAX_METADATA:
            raise bad_field("metadata", f"{size} bytes of JSON: at most {MAX_METADATA} are accepted")
        JobOptions.model_validate_json(options.model_dump_json())  # as the store does
        Opened.decode(Opened(job="j", options=options).encode())  # as the bus does
    except (OverflowError, ValueError, RecursionError) as exc:
        raise bad_field("metadata", f"cannot be stored: {excerpt(str(exc))}") from exc


def _check_webhook(url: str | None, targets: Targets) -> None:
    """Raise Problem 422 for a webhook that would not be delivered. Names are looked up when it is."""
    if url is not None:
        try:
            targets.check_url(url)
        except ContractError as exc:
            raise bad_field("webhook_url", str(exc)) from exc


async def get_job(request: Request) -> JSONResponse:
    """`GET /api/v1/jobs/{id}?generation=`: the job, also while it is live."""
    services: Services = request.app.state.services
    query = read_query(GenerationQuery, request)
    job = await find_job(request)
    generation = query.generation or job.generation
    segments = await read_segments(services, job, generation)
    progress = await _progress(services, job, segments, generation)
    generations, extra = await _read_from_bus(services, job, segments, generation)
    return respond(
        JobView(
            job_id=job.job,
            state=job.state,
            created_at=job.created_at,
            updated_at=job.updated_at,
            completed_at=job.completed_at,
            title=title_of(job),
            source=job.options.source,
            options=job.options,
            duration=seconds(job.samples) if job.state == "completed" else None,
            generation=generation,
            segments=[SegmentView.of(segment) for segment in segments],
            transcript=transcript_text(segments),
            summary=job.summary.view if job.summary else None,
            progress=progress,
            generations=generations,
            extra=extra,
        )
    )


async def _read_from_bus(
    services: Services, job: Job, segments: list[Transcript], generation: int
) -> tuple[list[GenerationView] | None, dict[str, Any] | None]:
    """Generations and extra events, which the record does not have.

    Both are None for a completed job while the bus is away, so that the rest of it can still be read.
    """
    try:
        generations = await generation_views(services, job, generation, segments)
        async with bus_deadline(services):
            extra = await extra_events(services.bus, job.job)
    except Problem:
        if not in_record(job, generation):
            raise
        return None, None
    return generations, extra


async def _progress(services: Services, job: Job, segments: list[Transcript], generation: int) -> ProgressView:
    total: int | None = len(segments)
    if not in_record(job, generation):
        async with bus_deadline(services):
            total = await read_count(services.bus, job, generation)
    failed = sum(segment.error is not None for segment in segments)
    return ProgressView(transcribed=len(segments), failed=failed, segments=total)


async def list_jobs(request: Request) -> JSONResponse:
    """`GET /api/v1/jobs?status=&limit=&cursor=&q=`: jobs, newest first, with `next_cursor` where there are more.

    With a search or a filter one request looks at a limited number of jobs, `searched`; `next_cursor` continues after
    them, even if nothing was found.
    """
    services: Services = request.app.state.services
    query = read_query(ListQuery, request)
    search = Search.of(query.q)
    try:
        page = await services.store.listing.page(
            query.limit, states=query.status, search=search if search.words else None, cursor=query.cursor
        )
    except BadCursor as exc:
        raise Problem(422, f"cursor: {excerpt(str(exc))}") from exc
    jobs = [_entry_view(entry) for entry in page.entries]
    return respond(JobListView(jobs=jobs, next_cursor=page.cursor, searched=page.searched))


def _entry_view(entry: Entry) -> JobEntryView:
    return JobEntryView(
        job_id=entry.job,
        state=entry.state,
        title=entry.title,
        created_at=entry.created_at,
        completed_at=entry.completed_at,
        duration=None if entry.samples is None else seconds(entry.samples),
        segments=entry.segments,
        language=entry.language,
        source=entry.source,
        text=entry.text,
    )


async def download_transcript(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/transcript.{txt,srt,vtt,json,md}?generation=`: a file, also while the job is live."""
    extension = request.path_params["format"]
    if extension not in FORMATS:
        accepted = ", ".join(f"transcript.{name}" for name in FORMATS)
        raise Problem(404, f"no transcript format {excerpt(repr(extension))}; there are {accepted}")
    query = read_query(GenerationQuery, request)
    job = await find_job(request)
    segments = await read_segments(request.app.state.services, job, query.generation or job.generation)
    form = FORMATS[extension]
    headers = {
        "Content-Type": form.media_type,
        "Content-Disposition": disposition("attachment", file_name(job, extension)),
        "Cache-Control": "private, no-store",
    }
    return Response(form.write(job, segments), headers=headers)
