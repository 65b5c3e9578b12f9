"""Jobs over REST: create one, look at one."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from pydantic import ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus import RATE, ContractError
from bus.languages import LANGUAGES
from bus.messages import JobOptions, Transcript, VadOptions
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
    except ValueError as exc:
        raise Problem(400, f"the body is not JSON: {exc}") from exc
    try:
        options = CreateJob.model_validate(parsed)
    except ValidationError as exc:
        errors = [_error(error["loc"], error["msg"]) for error in exc.errors(include_url=False, include_input=False)]
        raise Problem(422, "; ".join(f"{e['field']}: {e['message']}" for e in errors), errors=errors) from exc
    if options.language is not None and options.language not in LANGUAGES:
        message = (
            f"unknown language {options.language!r}; accepted are null (detect) and {', '.join(sorted(LANGUAGES))}"
        )
        raise Problem(422, f"language: {message}", errors=[_error(("language",), message)])
    return options


def _error(loc: tuple[int | str, ...], message: str) -> dict[str, str]:
    if message == "Extra inputs are not permitted":
        message = f"unknown field; accepted are {', '.join((_Vad if loc[0] == 'vad' else CreateJob).model_fields)}"
    return {"field": ".".join(map(str, loc)) or "body", "message": message}


async def get(request: Request) -> JSONResponse:
    """`GET /api/v1/jobs/{id}`: the job, also while it is live."""
    services: Services = request.app.state.services
    job_id = request.path_params["job_id"]
    job = await services.store.get(job_id)
    if job is None:
        raise Problem(404, f"no job {job_id!r}")
    segments = job.segments if job.state == "completed" else await _so_far(services, job_id)
    return JSONResponse(_job_json(job, segments))


async def _so_far(services: Services, job_id: str) -> list[Transcript]:
    """The finals of a job that is not finished, from the bus."""
    found = []
    try:
        async with asyncio.timeout(services.settings.answer_within):
            for raw in await services.bus.history("EVENTS", f"events.{job_id}.transcript.1.*"):
                try:
                    found.append(Transcript.decode(raw.data))
                except ContractError:
                    continue
    except TimeoutError as exc:
        reason = services.bus.trouble or "the bus does not answer"
        raise Problem(503, reason, retry_after=services.settings.retry_after) from exc
    return sorted(found, key=lambda transcript: transcript.index)


def _job_json(job: Job, segments: list[Transcript]) -> dict[str, Any]:
    return {
        "job_id": job.job,
        "state": job.state,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
        "completed_at": job.completed_at.isoformat() if job.completed_at else None,
        "options": job.options.model_dump(),
        "duration": round(job.samples / RATE, 3) if job.state == "completed" else None,
        "segments": [segment_json(segment) for segment in segments],
        "transcript": transcript_text(segments),
        "summary": summary_json(job.summary) if job.summary else None,
    }
