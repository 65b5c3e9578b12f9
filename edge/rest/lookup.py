"""What requests about a job begin with: the job itself, the parameters, and a bus that answers in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from contract import Replay, Transcript, read_transcripts
from contract.view import View
from edge.rest.problem import Problem
from edge.services import Services
from store.job import Job

Q = TypeVar("Q", bound="Query")


class Query(BaseModel):
    """The parameters of a request; one that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


def read_query(cls: type[Q], request: Request) -> Q:
    """Read the query string; raises Problem 422 that names the parameter, its value and what is accepted."""
    try:
        return cls.model_validate(dict(request.query_params))
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        name = error["loc"][0] if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            detail = f"unknown parameter {name!r}; accepted are {', '.join(cls.model_fields) or 'none'}"
        else:
            message = error["msg"].removeprefix("Value error, ")
            detail = f"{name}={error['input']!r}: {message}" if name else message
        raise Problem(422, detail) from exc


def answer(view: View, status: int = 200) -> JSONResponse:
    """Answer with something that clients see."""
    return JSONResponse(view.model_dump(mode="json"), status)


async def find(request: Request) -> Job:
    """The job that the path names; raises Problem 404 for an unknown one, 410 for one that was erased."""
    services: Services = request.app.state.services
    job_id = request.path_params["job_id"]
    job = await services.store.get(job_id)
    if job is not None:
        return job
    if tombstone := await services.store.erasures.get(job_id):
        at = tombstone.deleted_at.isoformat(timespec="seconds")
        raise Problem(410, f"job {job_id!r} was erased at {at}", deleted_at=tombstone.deleted_at)
    raise Problem(404, f"no job {job_id!r}")


@asynccontextmanager
async def answering(services: Services, within: float | None = None) -> AsyncIterator[None]:
    """Raise Problem 503 where the bus does not answer in time. within: seconds; None: as the settings say."""
    try:
        async with asyncio.timeout(services.settings.answer_within if within is None else within):
            yield
    except TimeoutError as exc:
        reason = services.bus.trouble or "the bus does not answer"
        raise Problem(503, reason, retry_after=services.settings.retry_after) from exc


async def segments_of(services: Services, job: Job, generation: int = 1) -> list[Transcript]:
    """The finals of a job in order of index: of a finished one from its record, else what the bus has by now."""
    if generation == 1 and job.state == "completed":
        return job.segments
    async with answering(services):
        stored = await services.bus.history("EVENTS", Transcript.pattern(job.job, generation=str(generation)))
    found = read_transcripts(raw.data for raw in stored)
    if generation > 1 and not found:
        async with answering(services):
            asked = await services.bus.last_raw(Replay.pattern(job.job, generation=str(generation)))
        if asked is None:
            raise Problem(404, f"job {job.job!r} has no generation {generation}")
    return found
