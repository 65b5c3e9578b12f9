"""Jobs over REST: create one, look at one."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from pydantic import ConfigDict, Field
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import JSONResponse

from contract import ContractError, JobOptions, Opened, Segmented, Transcript, seconds, transcript_text
from contract.view import CreatedView, GenerationView, JobView, ProgressView, SegmentView
from edge.rest.body import Vad, check_languages, read_body, refused
from edge.rest.export import title_of
from edge.rest.extra import extra
from edge.rest.generations import generation_views, replayed
from edge.rest.lookup import Query, answer, answering, find, read_query, segments_of
from edge.rest.problem import Problem
from edge.services import Services, Settings
from store.job import Job


class CreateJob(JobOptions):
    """The body of a create request. Unlike a reader of the bus it refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")

    vad: Vad = Vad()


async def create(request: Request) -> JSONResponse:
    """`POST /api/v1/stream/create`: 201 with the job's id and the address of its socket."""
    services: Services = request.app.state.services
    options = await read_body(CreateJob, request)
    _check(options)
    if trouble := services.trouble():
        raise Problem(503, trouble, retry_after=services.settings.retry_after)
    job_id = uuid.uuid4().hex
    await services.store.create(job_id, JobOptions(**options.model_dump()))
    ws_url = f"{_origin(request.url, services.settings)}/api/v1/stream/{job_id}"
    return answer(CreatedView(job_id=job_id, ws_url=ws_url), 201)


def _origin(url: URL, settings: Settings) -> str:
    """Where the socket of a job is for who created it at `url`."""
    if settings.capture_url is not None:
        return settings.capture_url
    return f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}"


def _check(options: CreateJob) -> None:
    """Raise Problem 422 for what JSON can say and the contract cannot."""
    check_languages(options)
    try:
        # As the store and the bus will have it: neither takes all that JSON can say.
        JobOptions.model_validate_json(options.model_dump_json())
        Opened.decode(Opened(job="j", options=options).encode())
    except (OverflowError, ValueError, RecursionError) as exc:
        raise refused("metadata", f"cannot be kept: {exc}") from exc


class _Query(Query):
    generation: int = Field(1, ge=1)


async def get(request: Request) -> JSONResponse:
    """`GET /api/v1/jobs/{id}?generation=`: the job, also while it is live."""
    services: Services = request.app.state.services
    query = read_query(_Query, request)
    job = await find(request)
    segments = await segments_of(services, job, query.generation)
    progress = await _progress(services, job, segments, query.generation)
    generations, found = await _from_the_bus(services, job, segments, query.generation)
    return answer(
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
            segments=[SegmentView.of(segment) for segment in segments],
            transcript=transcript_text(segments),
            summary=job.summary.view if job.summary else None,
            progress=progress,
            generations=generations,
            extra=found,
        )
    )


async def _from_the_bus(
    services: Services, job: Job, segments: list[Transcript], generation: int
) -> tuple[list[GenerationView] | None, dict[str, Any] | None]:
    """Generations and extra events, which no record has.

    Both are None for a completed job while the bus is away, so that the rest of it can still be read.
    """
    try:
        generations = await generation_views(services, job, generation, segments)
        async with answering(services):
            found = await extra(services.bus, job.job)
    except Problem:
        if generation > 1 or job.state != "completed":
            raise
        return None, None
    return generations, found


async def _progress(services: Services, job: Job, segments: list[Transcript], generation: int) -> ProgressView:
    """How many segments have their text, and how many there will be, which is known once all are cut."""
    total: int | None = len(segments) if job.state == "completed" and generation == 1 else None
    if generation > 1:
        async with answering(services):
            again = await replayed(services.bus, job.job, generation)
        total = again.segments if again else None
    elif total is None and job.state not in ("created", "streaming"):
        async with answering(services):
            with suppress(ContractError):
                counted = await services.bus.last(Segmented, Segmented.pattern(job.job))
                total = counted.value.segments if counted else None
    failed = sum(segment.error is not None for segment in segments)
    return ProgressView(transcribed=len(segments), failed=failed, segments=total)
