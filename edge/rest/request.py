"""What requests have in common: the job in the path, the query string, the body, and a bus that must answer in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from contract import LANGUAGES, Replay, SpeechOptions, Transcript, VadOptions, read_transcripts
from contract.view import View
from edge.capture.session import excerpt
from edge.rest.problem import Problem
from edge.services import Services
from store.job import Job

MAX_BODY = 65_536
"""Bytes of the largest body that is read."""

Q = TypeVar("Q", bound="Query")
B = TypeVar("B", bound=BaseModel)


class Query(BaseModel):
    """A query string. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")


class GenerationQuery(Query):
    """Which generation of a job."""

    generation: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="1: the capture; 2: its correction, if the job has the option `correct`; above: replays. "
        "Without it: the one that the finished job has; of a job that is not finished, 1.",
    )


class VadBody(VadOptions):
    """How speech is segmented. Unlike in messages on the bus, unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


def read_query(cls: type[Q], request: Request) -> Q:
    """Read the query string; raises Problem 422 that names the parameter, its value and what is accepted."""
    try:
        return cls.model_validate(dict(request.query_params))
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        name = error["loc"][0] if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            detail = f"unknown parameter {excerpt(repr(name))}; accepted are {', '.join(cls.model_fields) or 'none'}"
        else:
            message = error["msg"].removeprefix("Value error, ")
            detail = f"{name}={excerpt(repr(error['input']))}: {message}" if name else message
        raise Problem(422, detail) from exc


async def read_body(cls: type[B], request: Request) -> B:
    """Read a JSON body; an empty one is `{}`. Raises Problem 400, 413, or 422 that names each field and its error."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Problem(413, f"the body is larger than {MAX_BODY} bytes")
    try:
        parsed = json.loads(body) if body.strip() else {}
        # Python's parser accepts NaN and unpaired surrogates, which are not JSON.
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as exc:
        raise Problem(400, f"the body is not JSON: {excerpt(str(exc))}") from exc
    return validate(cls, parsed, cls.model_fields)


def validate(cls: type[B], values: Any, accepted: Iterable[str]) -> B:
    """Make a model of values; raises Problem 422. `accepted`: the fields to name where one is unknown."""
    try:
        return cls.model_validate(values)
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_input=False)
        errors = [_field_error(error["loc"], error["msg"], accepted) for error in found]
        raise Problem(422, "; ".join(f"{e['field']}: {e['message']}" for e in errors), errors=errors) from exc


def bad_field(field: str, message: str) -> Problem:
    """The error for one field of a body."""
    return Problem(422, f"{field}: {message}", errors=[_field_error((field,), message, ())])


def _field_error(loc: tuple[int | str, ...], message: str, accepted: Iterable[str]) -> dict[str, str]:
    if message == "Extra inputs are not permitted":
        message = f"unknown field; accepted are {', '.join(VadBody.model_fields if loc[0] == 'vad' else accepted)}"
    return {"field": excerpt(".".join(map(str, loc))) or "body", "message": message.removeprefix("Value error, ")}


def check_languages(options: SpeechOptions) -> None:
    """Raise Problem 422 for a language that Whisper does not know or that `allowed_languages` excludes."""
    allowed = options.allowed_languages
    known = ", ".join(sorted(LANGUAGES))
    if allowed and (unknown := [code for code in allowed if code not in LANGUAGES]):
        raise bad_field("allowed_languages", f"unknown language {unknown[0]!r}; accepted are {known}")
    if options.language is None:
        return
    if options.language not in LANGUAGES:
        raise bad_field("language", f"unknown language {options.language!r}; accepted are null (detect) and {known}")
    if allowed and options.language not in allowed:
        raise bad_field("language", f"{options.language!r} is not one of allowed_languages, {', '.join(allowed)}")


def respond(view: View, status: int = 200) -> JSONResponse:
    """Answer with JSON."""
    return JSONResponse(view.model_dump(mode="json"), status)


async def find_job(request: Request) -> Job:
    """The job that the path names; raises Problem 404 for an unknown one, 410 for an erased one."""
    services: Services = request.app.state.services
    job_id = request.path_params["job_id"]
    job = await services.store.get(job_id)
    if job is not None:
        return job
    if tombstone := await services.store.erasures.get(job_id):
        at = tombstone.deleted_at.isoformat(timespec="seconds")
        raise Problem(410, f"job {job_id!r} was erased at {at}", deleted_at=tombstone.deleted_at)
    raise Problem(404, f"no job {excerpt(repr(job_id))}")


@asynccontextmanager
async def bus_deadline(services: Services, within: float | None = None) -> AsyncIterator[None]:
    """Raise Problem 503 when the bus takes too long. `within`: seconds; None: as the settings say."""
    try:
        async with asyncio.timeout(services.settings.answer_within if within is None else within):
            yield
    except TimeoutError as exc:
        raise Problem(503, services.silence, retry_after=services.settings.retry_after) from exc


def in_record(job: Job, generation: int) -> bool:
    """Whether the record of a job has the transcripts of a generation; it is complete then."""
    return job.state == "completed" and generation == job.generation


async def read_segments(services: Services, job: Job, generation: int) -> list[Transcript]:
    """The final segments of a job in order of index: from its record if they are there, else from the bus.

    Raises Problem 404 for an unknown generation, 410 for a capture that is no longer stored.
    """
    if in_record(job, generation):
        return job.segments
    async with bus_deadline(services):
        stored = await services.bus.history("EVENTS", Transcript.pattern(job.job, generation=str(generation)))
    found = read_transcripts(raw.data for raw in stored)
    if found:
        return found
    if generation == 1:
        if job.state == "completed":
            raise Problem(410, f"generation 1 of job {job.job!r} is no longer stored")
        return []
    async with bus_deadline(services):
        replay = await services.bus.last_raw(Replay.pattern(job.job, generation=str(generation)))
    if replay is None:
        raise Problem(404, f"job {job.job!r} has no generation {generation}")
    return []
