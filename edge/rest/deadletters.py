"""Dead letters over REST: messages that could not be used, and requests to try them again."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus.dead import Expired, Letter, NotRetryable, UnknownLetter, letters, redrive
from contract import JobId
from contract.view import DeadLetterListView, DeadLetterView, RetryView
from edge.capture.session import excerpt
from edge.rest.problem import Problem
from edge.rest.request import Query, bus_deadline, read_query, respond
from edge.services import Services

_SEQ_DIGITS = 18


class DeadLetterQuery(Query):
    """Which dead letters are listed."""

    model_config = ConfigDict(extra="ignore")

    job: JobId | None = Field(None, description="Only those of one job.")
    limit: int = Field(100, ge=1, le=10_000)


async def list_dead_letters(request: Request) -> JSONResponse:
    """`GET /api/v1/dead?job=&limit=`: the newest dead letters, newest first."""
    services: Services = request.app.state.services
    query = read_query(DeadLetterQuery, request)
    async with bus_deadline(services):
        found = await letters(services.bus, query.job or "*", limit=query.limit)
    return respond(DeadLetterListView(dead=[_view(letter) for letter in found]))


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


async def retry_dead_letter(request: Request) -> JSONResponse:
    """`POST /api/v1/dead/{job}/{stream}/{seq}/retry`: 202, the message will be tried again.

    Success removes the dead letter; another failure updates its reason and time.
    """
    services: Services = request.app.state.services
    path = request.path_params
    text = path["seq"]
    if not (text.isascii() and text.isdigit() and len(text) <= _SEQ_DIGITS):
        raise Problem(404, f"{excerpt(repr(text))} is not the sequence of a message: a whole number is accepted")
    try:
        async with bus_deadline(services):
            message = await redrive(services.bus, path["job_id"], path["stream"], int(text))
    except UnknownLetter as exc:
        raise Problem(404, str(exc)) from exc
    except NotRetryable as exc:
        raise Problem(409, str(exc)) from exc
    except Expired as exc:
        raise Problem(410, str(exc)) from exc
    return respond(RetryView(job_id=message.job, stream=message.stream, seq=message.seq, worker=message.worker), 202)
