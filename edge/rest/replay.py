"""A stored job once more through the processors, over REST."""

from __future__ import annotations

from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus.recording import extent
from contract import Closed, JobOptions, Replay, SpeechOptions
from contract.view import ReplayView
from edge.rest.body import Vad, check_languages, read_body, validated
from edge.rest.generations import highest
from edge.rest.lookup import answer, answering, find
from edge.rest.problem import Problem
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

_CHANGEABLE = ("model", "language", "allowed_languages", "prompt", "hotwords")


class _Asked(BaseModel):
    """The body. What is left out is as the job has it; null is not left out."""

    model_config = ConfigDict(extra="forbid")

    speed: float | None = Field(None, gt=0, allow_inf_nan=False)
    model: Any = None
    language: Any = None
    allowed_languages: Any = None
    prompt: Any = None
    hotwords: Any = None
    vad: Vad = Vad()


async def replay(request: Request) -> JSONResponse:
    """`POST /api/v1/jobs/{id}/replay`: 202 with the number of the generation that its stored audio is made into."""
    services: Services = request.app.state.services
    asked = await read_body(_Asked, request)
    job = await find(request)
    options = _options(job.options, asked)
    async with answering(services):
        await _check_audio(services, job)
        while True:
            generation = 1 + await highest(services.bus, job.job)
            wanted = Replay(job=job.job, generation=generation, speed=asked.speed, options=options)
            if await services.bus.create(wanted):
                break  # else somebody else has asked at the same time
    log.info("replay", job=job.job, generation=generation, model=options.model)
    return answer(ReplayView(job_id=job.job, generation=generation), 202)


def _options(own: JobOptions, asked: _Asked) -> JobOptions:
    """The job's options with what is to be different; raises Problem 422."""
    given = asked.model_dump(include={*_CHANGEABLE}, exclude_unset=True)
    changed = validated(SpeechOptions, own.model_dump(include={*SpeechOptions.model_fields}) | given, _CHANGEABLE)
    check_languages(changed)
    vad = own.vad.model_dump() | asked.vad.model_dump(exclude_unset=True)
    return validated(JobOptions, own.model_dump() | changed.model_dump() | {"vad": vad}, ())


async def _check_audio(services: Services, job: Job) -> None:
    """Raise Problem 409 while more audio may come, 410 where there is none any more."""
    found = await extent(services.bus, job.job)
    ended = (found is not None and found.ended) or job.state not in ("created", "streaming")
    if not ended and await services.bus.last_raw(Closed.pattern(job.job)) is None:
        detail = f"job {job.job!r} is live: it can be replayed once its audio has ended"
        raise Problem(409, detail)
    if found is None or (found.first == found.end and found.end > 0):
        raise Problem(410, f"the sound of job {job.job!r} is not kept any longer")
