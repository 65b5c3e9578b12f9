"""Replays over REST: a job's stored audio is transcribed again, and the result is another generation of the job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from bus import Bus
from bus.recording import extent
from contract import (
    CORRECTED,
    SPEEDS,
    Closed,
    ContractError,
    JobOptions,
    Replay,
    Replayed,
    Segmented,
    SpeechOptions,
    Transcript,
    Utterance,
    read_transcripts,
)
from contract.view import GenerationView, ReplayView
from edge.rest.problem import Problem
from edge.rest.request import (
    VadBody,
    bus_deadline,
    check_languages,
    find_job,
    in_record,
    read_body,
    respond,
    validate,
)
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

_TRIED = 8
"""Transcripts that are read in order to name the model of a generation."""

_CHANGEABLE = ("model", "language", "allowed_languages", "prompt", "hotwords")


class ReplayBody(BaseModel):
    """What is different this time. A field that is left out is as the job has it; null is not left out."""

    model_config = ConfigDict(extra="forbid")

    speed: float | None = Field(
        None,
        ge=SPEEDS[0],
        le=SPEEDS[1],
        allow_inf_nan=False,
        description="1: at the pace of the recording; null: as fast as possible.",
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
            generation = 1 + await _last_generation(services.bus, job)
            replay = Replay(job=job.job, generation=generation, speed=body.speed, options=options)
            if await services.bus.create(replay):
                break  # otherwise another request took this number
    log.info("replay", job=job.job, generation=generation, model=options.model)
    return respond(ReplayView(job_id=job.job, generation=generation), 202)


def _changed_options(own: JobOptions, body: ReplayBody) -> JobOptions:
    """The job's options with the changes of the body; raises Problem 422."""
    given = {name: getattr(body, name) for name in _CHANGEABLE if name in body.model_fields_set}
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


async def _last_generation(bus: Bus, job: Job) -> int:
    """The highest generation that anything is stored of; a `Replay` may expire before the transcripts made of it.

    `CORRECTED` is not for replays of a job that is corrected, even if nothing is stored of it yet.
    """
    names = [
        *await bus.subjects("EVENTS", Replay.pattern(job.job)),
        *await bus.subjects("SPEECH", Utterance.pattern(job.job, source="replay")),
        *await bus.subjects("EVENTS", Transcript.pattern(job.job)),
    ]
    found = [name.split(".")[3 if name.startswith("events.") else 2] for name in names]
    reserved = CORRECTED if job.options.is_corrected else 1
    return max([reserved, *(int(token) for token in found if token.isdecimal())])


async def generation_views(
    services: Services, job: Job, generation: int, segments: Sequence[Transcript]
) -> list[GenerationView]:
    """All generations of a job as clients see them. `segments`: those of `generation`, which are known already."""
    bus, views = services.bus, []
    async with bus_deadline(services):
        subjects = await _transcript_subjects(bus, job.job)
        numbers = {job.generation, *await _replay_numbers(bus, job.job)}
        numbers |= subjects.keys() & ({1, CORRECTED} if job.options.is_corrected else {1})
        for number in sorted(numbers):
            if number == generation or in_record(job, number):
                known = segments if number == generation else job.segments
                transcribed, model = len(known), _model(known)
            else:
                stored = subjects.get(number, [])
                transcribed, model = len(stored), await _read_model(bus, stored)
            done = await _is_done(bus, job, number, transcribed)
            views.append(GenerationView(generation=number, segments=transcribed, done=done, model=model))
    return views


async def _transcript_subjects(bus: Bus, job: str) -> dict[int, list[str]]:
    """The subjects of a job's transcripts by generation; there may be thousands, and each is large."""
    found = defaultdict(list)
    for name in await bus.subjects("EVENTS", Transcript.pattern(job)):
        number = name.split(".")[3]
        if number.isdecimal():
            found[int(number)].append(name)
    return found


async def _read_model(bus: Bus, subjects: Sequence[str]) -> str | None:
    """The speech model of the first transcript that has one; only the first few are read."""
    for name in subjects[:_TRIED]:
        raw = await bus.last_raw(name)
        if raw is not None and (model := _model(read_transcripts([raw.data]))):
            return model
    return None


def _model(segments: Sequence[Transcript]) -> str | None:
    return next((segment.model for segment in segments if segment.model and not segment.error), None)


async def _is_done(bus: Bus, job: Job, generation: int, transcribed: int) -> bool:
    if generation == 1 or in_record(job, generation):
        return job.state == "completed"
    count = await read_count(bus, job, generation)
    return count is not None and count <= transcribed


async def _replay_numbers(bus: Bus, job: str) -> list[int]:
    """The generations of all replays that were requested, in order."""
    found = []
    for raw in await bus.latest("EVENTS", Replay.pattern(job)):
        try:
            found.append(Replay.read(raw.subject, raw.data).generation)
        except ContractError:  # unreadable messages are skipped
            continue
    return sorted(found)


async def read_count(bus: Bus, job: Job, generation: int) -> int | None:
    """How many utterances a generation has; None until all its audio is segmented."""
    captured = generation == 1 or (generation == CORRECTED and job.options.is_corrected)
    try:
        if captured:
            segmented = await bus.last(Segmented, Segmented.pattern(job.job))
            return segmented.value.segments if segmented else None
        replayed = await bus.last(Replayed, Replayed.pattern(job.job, generation=str(generation)))
        return replayed.value.segments if replayed else None
    except ContractError:
        return None
