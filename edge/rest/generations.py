"""The generations of a job: what was made of its audio when it was live, and of each replay since."""

from __future__ import annotations

from collections.abc import Sequence

from bus import Bus
from contract import ContractError, Replay, Replayed, Transcript, Utterance
from contract.view import GenerationView
from edge.rest.lookup import answering, segments_of
from edge.services import Services
from store.job import Job


async def asked_for(bus: Bus, job: str) -> list[int]:
    """The generations of a job behind the first, in order."""
    found = []
    for raw in await bus.latest("EVENTS", Replay.pattern(job)):
        try:
            found.append(Replay.read(raw.subject, raw.data).generation)
        except ContractError:  # somebody's garbage
            continue
    return sorted(found)


async def highest(bus: Bus, job: str) -> int:
    """The last generation that anything is stored of; who asks for one may be forgotten sooner than what it made."""
    names = [
        *await bus.subjects("EVENTS", Replay.pattern(job)),
        *await bus.subjects("SPEECH", Utterance.pattern(job, source="replay")),
        *await bus.subjects("EVENTS", Transcript.pattern(job)),
    ]
    found = [name.split(".")[3 if name.startswith("events.") else 2] for name in names]
    return max([1, *(int(token) for token in found if token.isdecimal())])


async def replayed(bus: Bus, job: str, generation: int) -> Replayed | None:
    """How many utterances a generation has, once that is known."""
    try:
        found = await bus.last(Replayed, Replayed.pattern(job, generation=str(generation)))
    except ContractError:
        return None
    return None if found is None else found.value


async def generation_views(
    services: Services, job: Job, generation: int, segments: Sequence[Transcript]
) -> list[GenerationView]:
    """All generations of a job as clients see them. segments: those of `generation`, which are known already."""
    async with answering(services):
        numbers = [1, *await asked_for(services.bus, job.job)]
    listed = []
    for number in numbers:
        made = segments if number == generation else await segments_of(services, job, number)
        done = job.state == "completed"
        if number > 1:
            async with answering(services):
                counted = await replayed(services.bus, job.job, number)
            done = counted is not None and counted.segments <= len(made)
        model = next((segment.model for segment in made if segment.model and not segment.error), None)
        listed.append(GenerationView(generation=number, segments=len(made), done=done, model=model))
    return listed
