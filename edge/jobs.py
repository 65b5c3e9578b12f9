"""Jobs over REST: create one, look at one."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

from pydantic import ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus import RATE, ContractError
from bus.languages import LANGUAGES
from bus.messages import JobOptions, Opened, Segmented, Transcript, VadOptions
from edge.export import title_of
from edge.extra import extra
from edge.lookup import Query, answering, find, read_query, segments_of
from edge.problem import Problem
from edge.services import Services
from edge.session import segment_json, summary_json
from store.job import Job, transcript_text

MAX_BODY = 65_536


class _Vad(VadOptions):
    model_config = ConfigDict(extra="forbid")


class CreateJob(JobOptions):
    """The body of a create request. Unlike a reader of the bus it refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")

    vad: _Vad = _Vad()


async def create(request: Request) -> JSONResponse:
    """`POST /api/v1/stream/create`: 201 with the job's id and the address of its socket."""
    services: Services = request.app.state.services
    options = _parse(await _body(request))
    if trouble := services.trouble():
        raise Problem(503, trouble, retry_after=services.settings.retry_after)
    job_id = uuid.uuid4().hex
    await services.store.create(job_id, JobOptions(**options.model_dump()))
    scheme = "wss" if request.url.scheme == "https" else "ws"
    ws_url = f"{scheme}://{request.url.netloc}/api/v1/stream/{job_id}"
    return JSONResponse({"job_id": job_id, "ws_url": ws_url}, 201)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Problem(413, f"the body is larger than {MAX_BODY} bytes")
    return bytes(body)


def _parse(body: bytes) -> CreateJob:
    try:
        parsed = json.loads(body) if body.strip() else {}
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()  # Python reads NaN, and half characters
    except (ValueError, RecursionError) as exc:
        raise Problem(400, f"the body is not JSON: {exc}") from exc
    try:
        options = CreateJob.model_validate(parsed)
    except ValidationError as exc:
        errors = [_error(error["loc"], error["msg"]) for error in exc.errors(include_url=False, include_input=False)]
        raise Problem(422, "; ".join(f"{e['field']}: {e['message']}" for e in errors), errors=errors) from exc
    _check_languages(options)
    try:
        # As the store and the bus will have it: neither takes all that JSON can say.
        JobOptions.model_validate_json(options.model_dump_json())
        Opened.decode(Opened(job="j", options=options).encode())
    except (OverflowError, ValueError, RecursionError) as exc:
        raise _refused("metadata", f"cannot be kept: {exc}") from exc
    return options


def _check_languages(options: CreateJob) -> None:
    """Raise Problem 422 where a language is none that Whisper knows, or not one of those that are allowed."""
    allowed = options.allowed_languages
    known = ", ".join(sorted(LANGUAGES))
    if allowed and (unknown := [code for code in allowed if code not in LANGUAGES]):
        raise _refused("allowed_languages", f"unknown language {unknown[0]!r}; accepted are {known}")
    if options.language is None:
        return
    if options.language not in LANGUAGES:
        raise _refused("language", f"unknown language {options.language!r}; accepted are null (detect) and {known}")
    if allowed and options.language not in allowed:
        raise _refused("language", f"{options.language!r} is not one of allowed_languages, {', '.join(allowed)}")


def _refused(field: str, message: str) -> Problem:
    return Problem(422, f"{field}: {message}", errors=[_error((field,), message)])


def _error(loc: tuple[int | str, ...], message: str) -> dict[str, str]:
    if message == "Extra inputs are not permitted":
        message = f"unknown field; accepted are {', '.join((_Vad if loc[0] == 'vad' else CreateJob).model_fields)}"
    return {"field": ".".join(map(str, loc)) or "body", "message": message}


class _Query(Query):
    generation: int = Field(1, ge=1)


async def get(request: Request) -> JSONResponse:
    """`GET /api/v1/jobs/{id}?generation=`: the job, also while it is live."""
    services: Services = request.app.state.services
    query = read_query(_Query, request)
    job = await find(request)
    segments = await segments_of(services, job, query.generation)
    progress = await _progress(services, job, segments)
    async with answering(services):
        found = await extra(services.bus, job.job)
    return JSONResponse(_job_json(job, segments) | {"progress": progress, "extra": found})


async def _progress(services: Services, job: Job, segments: list[Transcript]) -> dict[str, Any]:
    """How many segments have their text, and how many there will be, which is known once all are cut."""
    total: int | None = len(segments) if job.state == "completed" else None
    if total is None and job.state not in ("created", "streaming"):
        async with answering(services):
            with suppress(ContractError):
                counted = await services.bus.last(Segmented, Segmented.pattern(job.job))
                total = counted.value.segments if counted else None
    failed = sum(segment.error is not None for segment in segments)
    return {"transcribed": len(segments), "failed": failed, "segments": total}


def _job_json(job: Job, segments: list[Transcript]) -> dict[str, Any]:
    return {
        "job_id": job.job,
        "state": job.state,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
        "completed_at": job.completed_at.isoformat() if job.completed_at else None,
        "title": title_of(job),
        "source": job.options.source,
        "options": job.options.model_dump(),
        "duration": round(job.samples / RATE, 3) if job.state == "completed" else None,
        "segments": [segment_json(segment) for segment in segments],
        "transcript": transcript_text(segments),
        "summary": summary_json(job.summary) if job.summary else None,
    }
