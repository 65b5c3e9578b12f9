"""A transcript that is replaced after its job was finished: the store has the new one too."""

from __future__ import annotations

import asyncio

from bus import Bus
from bus.dead import replace
from compose.servers import Server
from contract import JobOptions, Redriven
from store.jobs import JobStore
from tests.ollama_server import OllamaServer, waits_for
from tests.processors.summary.test_main import (  # noqa: F401
    SENTENCES,
    Start,
    completed,
    finished,
    meeting,
    publish,
    said,
    start,
    store,
)
from tests.support import wait_until

# ruff: noqa: F811 - fixtures


async def fail(bus: Bus, job: str, *failed: int) -> None:
    """Publish a meeting some of whose transcripts have failed."""
    events = meeting(job)
    for index in failed:
        events[3 + index] = said(job, index, "", error="out of memory")
    await publish(bus, events)


async def cure(bus: Bus, job: str, index: int) -> None:
    """What a worker of speech does in the end."""
    await replace(bus, said(job, index, SENTENCES[index]))
    await bus.create(Redriven(job=job, worker="stt", stream="SPEECH", seq=index + 1))


async def corrected(store: JobStore, job: str) -> None:
    async def done() -> bool:
        found = await store.get(job)
        return found is not None and found.transcript == "\n".join(SENTENCES)

    await wait_until(done, description=f"{job} is corrected in the store")


async def test_a_finished_job_is_corrected_and_keeps_its_summary(bus: Bus, store: JobStore, start: Start) -> None:
    await store.create("m1", JobOptions(title="Weekly"))
    await start()
    await fail(bus, "m1", 1)
    before = await finished(bus, store, "m1")
    assert before.segments[1].error == "out of memory"
    await cure(bus, "m1", 1)
    await corrected(store, "m1")
    after = await finished(bus, store, "m1")
    assert after.segments[1].error is None
    same = {"segments", "updated_at"}
    assert after.model_dump(exclude=same) == before.model_dump(exclude=same)


async def test_many_at_once_are_all_in_the_store_in_the_end(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    await start()
    await start()
    await fail(bus, "m1", 0, 1, 2)
    await finished(bus, store, "m1")
    await asyncio.gather(*(cure(bus, "m1", index) for index in range(3)))
    await corrected(store, "m1")


async def test_one_that_comes_while_the_job_is_being_finished_is_not_lost(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    gate = asyncio.Event()
    ollama.plan.append(waits_for(gate))
    await start()
    await fail(bus, "m1", 1)
    await wait_until(lambda: ollama.in_hand == 1, description="the transcripts have been read")
    await cure(bus, "m1", 1)
    gate.set()
    await completed(bus, "m1")
    await corrected(store, "m1")


async def test_the_store_may_be_away(bus: Bus, store: JobStore, start: Start, redis_server: Server) -> None:
    await start()
    await fail(bus, "m1", 1)
    await finished(bus, store, "m1")
    await redis_server.kill()
    await cure(bus, "m1", 1)
    await redis_server.start()
    await corrected(store, "m1")


async def test_other_streams_are_of_no_interest(bus: Bus, store: JobStore, start: Start) -> None:
    await start()
    await fail(bus, "m1", 1)
    before = await finished(bus, store, "m1")
    await bus.create(Redriven(job="m1", worker="webhook", stream="EVENTS", seq=9))

    async def settled() -> bool:
        info = await bus.js.consumer_info("EVENTS", "corrections")
        return not info.num_pending and not info.num_ack_pending

    await wait_until(settled, description="it is acked")
    assert await store.get("m1") == before
