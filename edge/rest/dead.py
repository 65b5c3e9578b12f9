"""Dead letters over REST: what could not be used and why, and asking that it be tried again."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus.dead import Expired, Letter, NotRetryable, UnknownLetter, letters, redrive
from contract import JobId
from contract.view import DeadLetterListView, DeadLetterView, RetryView
from edge.rest.lookup import answer, answering
from edge.rest.problem import Problem
from edge.services import Services


class _Query(BaseModel):
    job: JobId | None = None
    limit: int = Field(100, ge=1, le=10_000)


async def listing(request: Request) -> JSONResponse:
    """`GET /api/v1/dead?job=&limit=`: the newest dead letters, newest first."""
    services: Services = request.app.state.services
    try:
        query = _Query.model_validate(dict(request.query_params))
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        raise Problem(422, f"{error['loc'][0]}={error['input']!r}: {error['msg']}") from exc
    async with answering(services):
        found = await letters(services.bus, query.job or "*", limit=query.limit)
    return answer(DeadLetterListView(dead=[_view(letter) for letter in found]))


async def retry(request: Request) -> JSONResponse:
    """`POST /api/v1/dead/{job}/{stream}/{seq}/retry`: 202, it will be tried again.

    Once that has succeeded the dead letter is gone; when it fails once more, its reason and its time are new.
    """
    services: Services = request.app.state.services
    path = request.path_params
    try:
        async with answering(services):
            asked = await redrive(services.bus, path["job_id"], path["stream"], path["seq"])
    except UnknownLetter as exc:
        raise Problem(404, str(exc)) from exc
    except NotRetryable as exc:
        raise Problem(409, str(exc)) from exc
    except Expired as exc:
        raise Problem(410, str(exc)) from exc
    return answer(RetryView(job_id=asked.job, stream=asked.stream, seq=asked.seq, worker=asked.worker), 202)


def _view(letter: Letter) -> DeadLetterView:
    dead = letter.dead
    return DeadLetterView(
        job_id=dead.job,
        stream=dead.stream,
        seq=dead.seq,
        subject=dead.at,
        reason=dead.reason,
        worker=dead.worker or None,
        at=letter.at,
    )
