"""Replays over REST: a job's stored audio is transcribed again, and the result is another generation of the job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus import Bus
from bus.recording import extent
from contract import Closed, ContractError, JobOptions, Replay, Replayed, SpeechOptions, Transcript, Utterance
from contract.view import GenerationView, ReplayView
from edge.rest.problem import Problem
from edge.rest.request import (
    VadBody,
    bus_deadline,
    check_languages,
    find_job,
    read_body,
    read_segments,
    respond,
    validate,
)
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

_CHANGEABLE = ("model", "language", "allowed_languages", "prompt", "hotwords")


class ReplayBody(BaseModel):
    """What is different this time. A field that is left out is as the job has it; null is not left out."""

    model_config = ConfigDict(extra="forbid")

    speed: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="1: at the pace of the recording; null: as fast as possible."
    )
    model: Any = Field(None, description="As in a create request, and so are the following.")
    language: Any = None
    allowed_languages: Any = None
    prompt: Any = None
    hotwords: Any = None
    vad: VadBody = VadBody()


async def create_replay(request: Request) -> JSONResponse:
    """`POST /api/v1/jobs/{id}/replay`: 202 with the number of the new generation."""
    services: Services = request.app.state.services
    body = await read_body(ReplayBody, request)
    job = await find_job(request)
    options = _changed_options(job.options, body)
    async with bus_deadline(services):
        await _check_audio(services, job)
        while True:
            generation = 1 + await _last_generation(services.bus, job.job)
            replay = Replay(job=job.job, generation=generation, speed=body.speed, options=options)
            if await services.bus.create(replay):
                break  # otherwise another request took this number
    log.info("replay", job=job.job, generation=generation, model=options.model)
    return respond(ReplayView(job_id=job.job, generation=generation), 202)


def _changed_options(own: JobOptions, body: ReplayBody) -> JobOptions:
    """The job's options with the changes of the body; raises Problem 422."""
    given = body.model_dump(include={*_CHANGEABLE}, exclude_unset=True)
    changed = validate(SpeechOptions, own.model_dump(include={*SpeechOptions.model_fields}) | given, _CHANGEABLE)
    check_languages(changed)
    vad = own.vad.model_dump() | body.vad.model_dump(exclude_unset=True)
    return validate(JobOptions, own.model_dump() | changed.model_dump() | {"vad": vad}, ())


async def _check_audio(services: Services, job: Job) -> None:
    """Raise Problem 409 while more audio may come, 410 where none is stored any more."""
    found = await extent(services.bus, job.job)
    ended = (found is not None and found.ended) or job.state not in ("created", "streaming")
    if not ended and await services.bus.last_raw(Closed.pattern(job.job)) is None:
        detail = f"job {job.job!r} is live: it can be replayed once its audio has ended"
        raise Problem(409, detail)
    if found is None or (found.first == found.end and found.end > 0):
        raise Problem(410, f"the audio of job {job.job!r} is no longer stored")


async def _last_generation(bus: Bus, job: str) -> int:
    """The highest generation that anything is stored of; a `Replay` may expire before the transcripts made of it."""
    names = [
        *await bus.subjects("EVENTS", Replay.pattern(job)),
        *await bus.subjects("SPEECH", Utterance.pattern(job, source="replay")),
        *await bus.subjects("EVENTS", Transcript.pattern(job)),
    ]
    found = [name.split(".")[3 if name.startswith("events.") else 2] for name in names]
    return max([1, *(int(token) for token in found if token.isdecimal())])


async def generation_views(
    services: Services, job: Job, generation: int, segments: Sequence[Transcript]
) -> list[GenerationView]:
    """All generations of a job as clients see them. `segments`: those of `generation`, which are known already."""
    async with bus_deadline(services):
        numbers = [1, *await _replay_numbers(services.bus, job.job)]
    views = []
    for number in numbers:
        transcribed = segments if number == generation else await read_segments(services, job, number)
        done = job.state == "completed"
        if number > 1:
            async with bus_deadline(services):
                replayed = await read_replayed(services.bus, job.job, number)
            done = replayed is not None and replayed.segments <= len(transcribed)
        model = next((segment.model for segment in transcribed if segment.model and not segment.error), None)
        views.append(GenerationView(generation=number, segments=len(transcribed), done=done, model=model))
    return views


async def _replay_numbers(bus: Bus, job: str) -> list[int]:
    """The generations of all replays that were requested, in order."""
    found = []
    for raw in await bus.latest("EVENTS", Replay.pattern(job)):
        try:
            found.append(Replay.read(raw.subject, raw.data).generation)
        except ContractError:  # unreadable messages are skipped
            continue
    return sorted(found)


async def read_replayed(bus: Bus, job: str, generation: int) -> Replayed | None:
    """How many utterances a generation has; None until all its audio is segmented."""
    try:
        found = await bus.last(Replayed, Replayed.pattern(job, generation=str(generation)))
    except ContractError:
        return None
    return None if found is None else found.value
