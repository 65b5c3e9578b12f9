from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from bus import Bus, StartError, connect
from bus.connection import Connection
from bus.requests import present
from compose.ports import free_port
from compose.servers import Server
from contract import (
    Closed,
    Completed,
    Dead,
    JobOptions,
    Message,
    Opened,
    Redriven,
    Segmented,
    Summary,
    Transcript,
    Utterance,
    parse_event,
)
from processors.summary import __main__ as worker_module
from processors.summary.__main__ import main
from processors.summary.writer import Settings
from store import jobs
from store.jobs import Job, JobStore
from tests.ollama_server import OllamaServer, fails, waits_for
from tests.support import wait_until

SENTENCES = ["Let us move the release to Friday.", "민아 씨가 고객에게 알립니다.", "The release is on Friday then."]


def said(job: str, index: int, text: str, error: str | None = None) -> Transcript:
    start = index * 16_000
    language = "ko" if text > "가" else "en"
    return Transcript(job=job, index=index, start=start, end=start + 12_000, text=text, language=language, error=error)


def meeting(job: str, texts: list[str] = SENTENCES, **options: Any) -> list[Message]:
    """All events of a closed job."""
    samples = len(texts) * 16_000
    return [
        Opened(job=job, options=JobOptions(**options)),
        Closed(job=job, samples=samples, reason="stop"),
        Segmented(job=job, segments=len(texts), samples=samples),
        *(said(job, index, text) for index, text in enumerate(texts)),
    ]


async def publish(bus: Bus, messages: list[Message]) -> None:
    for message in messages:
        await bus.publish(message)


async def events(bus: Bus, job: str, kind: type[Message]) -> list[Any]:
    parsed = [parse_event(raw.subject, raw.data) for raw in await bus.history("EVENTS", kind.pattern(job))]
    return [message for message in parsed if isinstance(message, kind)]


async def completed(bus: Bus, job: str) -> None:
    async def done() -> bool:
        return bool(await events(bus, job, Completed))

    await wait_until(done, description=f"{job} is completed")


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with jobs.connect(redis_url) as opened:
        yield opened


Start = Callable[..., Awaitable[asyncio.Task[None]]]


@pytest.fixture
async def start(
    bus: Bus, nats_url: str, redis_url: str, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """Starts a worker with a connection of its own; cancelling its task is the end of its process."""
    monkeypatch.setenv("STORE_URL", redis_url)
    workers: list[asyncio.Task[None]] = []

    async def work(settings: Settings) -> None:
        async with connect(nats_url) as own:
            await main(own, settings)

    async def start(**settings: Any) -> asyncio.Task[None]:
        worker = asyncio.create_task(work(Settings(ollama_host=ollama.url, **settings)))
        workers.append(worker)
        await wait_until(lambda: worker.done() or present(bus, "summary"), description="the worker is ready")
        return worker

    yield start
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def finished(bus: Bus, store: JobStore, job: str) -> Job:
    await completed(bus, job)
    found = await store.get(job)
    assert found is not None
    assert found.state == "completed"
    assert await events(bus, job, Summary) == [found.summary]
    return found


async def test_a_closed_job_is_finished(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    await store.create("m1", JobOptions(title="Weekly"))
    await start()
    await publish(bus, meeting("m1", title="Weekly"))
    job = await finished(bus, store, "m1")
    assert job.summary is not None
    assert (job.summary.engine, job.summary.language, job.summary.model) == ("ollama", "en", "gemma3")
    assert [segment.index for segment in job.segments] == [0, 1, 2]
    assert (job.transcript, job.samples, job.options.title) == ("\n".join(SENTENCES), 48_000, "Weekly")
    assert await events(bus, "m1", Completed) == [Completed(job="m1", segments=3, samples=48_000)]
    assert len(ollama.requests) == 1


async def test_transcripts_may_be_late_and_out_of_order(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    await store.create("m1", JobOptions())
    await start()
    opened, closed, segmented, *transcripts = meeting("m1", [f"Sentence {number}." for number in range(30)])
    await publish(bus, [opened, *transcripts[20:], closed, *reversed(transcripts[3:20]), segmented, transcripts[1]])
    await publish(bus, meeting("m2"))
    await completed(bus, "m2")  # m1 waits meanwhile and blocks nobody
    assert await events(bus, "m1", Summary) == []
    await publish(bus, [transcripts[2], transcripts[0]])
    job = await finished(bus, store, "m1")
    assert [segment.index for segment in job.segments] == list(range(30))
    assert "\n".join(f"Sentence {number}." for number in range(30)) in ollama.requests[-1]["messages"][1]["content"]


async def test_the_state_is_shown_while_the_model_writes(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    gate = asyncio.Event()
    ollama.plan.append(waits_for(gate))
    await store.create("m1", JobOptions())
    await start()
    await publish(bus, meeting("m1"))
    await wait_until(lambda: ollama.active == 1, description="the model is asked")
    job = await store.get("m1")
    assert job is not None
    assert job.state == "summarizing"
    gate.set()
    await finished(bus, store, "m1")


async def test_an_empty_meeting_is_finished(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    await start()
    await publish(bus, meeting("m1", []))
    job = await finished(bus, store, "m1")
    assert job.summary is not None
    assert (job.summary.engine, job.summary.title) == ("none", "Empty meeting")
    assert (job.segments, job.transcript, ollama.requests) == ([], "", [])


async def test_a_job_without_summary_is_finished(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    await start()
    await publish(bus, meeting("m1", summary=False))
    job = await finished(bus, store, "m1")
    assert job.summary is not None
    assert job.summary.reason == "summary was not asked for"
    assert (len(job.segments), ollama.requests) == (3, [])


async def test_a_failed_transcript_keeps_its_place(bus: Bus, store: JobStore, start: Start) -> None:
    await start()
    events = meeting("m1")
    events[4] = said("m1", 1, "", error="out of memory")
    await publish(bus, events)
    job = await finished(bus, store, "m1")
    assert job.transcript == f"{SENTENCES[0]}\n{SENTENCES[2]}"
    assert job.segments[1].error == "out of memory"


async def test_unreadable_events_do_not_stop_a_job(bus: Bus, store: JobStore, start: Start) -> None:
    await start()
    opened, *rest = meeting("m1")
    await bus.connection.js.publish("events.m1.transcript.1.1", b"\xc1 garbage")
    await bus.connection.js.publish("events.m1.opened", b"")
    await bus.connection.js.publish("events.m1.invented", b"of a newer writer")
    await publish(bus, [message for message in rest if message.subject != "events.m1.transcript.1.1"])
    job = await finished(bus, store, "m1")
    assert job.segments[1].text == ""
    assert "not a Transcript" in (job.segments[1].error or "")
    assert job.options == JobOptions()
    assert opened.subject == "events.m1.opened"


async def test_an_unreadable_count_is_a_dead_letter(bus: Bus, store: JobStore, start: Start) -> None:
    await start()
    await bus.connection.js.publish("events.m1.segmented", b"many")
    await publish(bus, [Closed(job="m1", samples=1, reason="stop")])

    async def dead() -> list[Any]:
        return await events(bus, "m1", Dead)

    await wait_until(dead, description="the closed event is a dead letter")
    assert "not a Segmented" in (await dead())[0].reason
    await publish(bus, meeting("m2"))
    await finished(bus, store, "m2")


async def test_ollama_away(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    ollama.url = f"http://127.0.0.1:{free_port()}"
    await start(connect_deadline=0.3)
    await publish(bus, meeting("m1"))
    job = await finished(bus, store, "m1")
    assert job.summary is not None
    assert (job.summary.engine, job.summary.reason) == ("extractive", f"Ollama at {ollama.url} cannot be reached")
    assert job.summary.summary == " ".join(SENTENCES)


async def test_a_repeat_changes_nothing(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    await start()
    await publish(bus, meeting("m1"))
    first = await finished(bus, store, "m1")
    await publish(bus, [Closed(job="m1", samples=48_000, reason="stop")])

    async def written_again() -> bool:
        job = await store.get("m1")
        return job is not None and job.updated_at > first.updated_at

    await wait_until(written_again, description="the repeat is done")
    second = await finished(bus, store, "m1")
    assert second.model_copy(update={"updated_at": first.updated_at}) == first
    assert len(await events(bus, "m1", Completed)) == 1
    assert len(ollama.requests) == 1


async def test_gone_between_summary_and_store(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer, redis_server: Server
) -> None:
    """The first worker dies while Redis is away and its summary is out; the next one uses that summary."""
    await store.create("m1", JobOptions())
    await redis_server.kill()
    worker = await start()
    await publish(bus, meeting("m1"))

    async def summary_is_out() -> bool:
        return bool(await events(bus, "m1", Summary))

    await wait_until(summary_is_out, description="the summary is published")
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert await events(bus, "m1", Completed) == []
    ollama.plan.extend([fails()] * 10)
    await redis_server.start()
    await start()
    job = await finished(bus, store, "m1")
    assert job.summary is not None
    assert job.summary.engine == "ollama"
    assert len(ollama.requests) == 1


async def test_gone_while_the_model_writes(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    ollama.plan.append(waits_for(asyncio.Event()))
    worker = await start()
    await publish(bus, meeting("m1"))
    await wait_until(lambda: ollama.active == 1, description="the model is asked")
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await start()
    await finished(bus, store, "m1")
    assert len(ollama.requests) == 2


async def test_redis_away_and_its_data_lost(
    bus: Bus, store: JobStore, start: Start, redis_server: Server, ollama: OllamaServer
) -> None:
    await redis_server.kill()
    await start()
    await publish(bus, meeting("m1", title="Weekly"))
    await wait_until(lambda: ollama.requests, description="the model is asked")
    assert await events(bus, "m1", Completed) == []
    await redis_server.start()
    job = await finished(bus, store, "m1")
    assert (job.options.title, len(job.segments)) == ("Weekly", 3)


async def test_utterances_that_have_become_too_old_are_given_up(
    bus: Bus, store: JobStore, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a suspension or a jump of the clock of more than BUS_AUDIO_HOURS: the stream drops them by their age."""
    monkeypatch.setattr(worker_module, "LOOK_FOR_LOST", 0.05)
    utterances = [
        Utterance(job="m1", index=index, start=index * 16_000, end=index * 16_000 + 160) for index in range(4)
    ]
    seqs: list[int] = []
    for utterance in utterances:
        seqs.append(await bus.append(utterance, seqs[-1] if seqs else 0))
    for seq in seqs[:2]:
        await bus.connection.js.delete_msg("SPEECH", seq)
    opened, closed, segmented, *_ = meeting("m1", ["a", "b", "c", "d"])
    await publish(bus, [opened, closed, segmented, said("m1", 1, "b")])
    await start()
    await wait_until(lambda: bus.last_raw("events.m1.transcript.1.0"), description="the lost one is given up")
    await publish(bus, [said("m1", 2, "c"), said("m1", 3, "d")])
    job = await finished(bus, store, "m1")
    assert [segment.text for segment in job.segments] == ["", "b", "c", "d"]
    assert [bool(segment.error) for segment in job.segments] == [True, False, False, False]
    assert job.segments[0].error
    assert "BUS_AUDIO_HOURS" in job.segments[0].error


async def test_redis_out_of_memory(
    bus: Bus,
    store: JobStore,
    start: Start,
    redis_server: Server,
    ollama: OllamaServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        await store.create("m1", JobOptions(title="Weekly"))
        await redis.config_set("maxmemory", 1)
        await start()
        await publish(bus, meeting("m1", title="Weekly"))
        await wait_until(lambda: "waiting for the store" in caplog.text, description="the worker waits for the store")
        assert await events(bus, "m1", Completed) == []
        await redis.config_set("maxmemory", 0)
        job = await finished(bus, store, "m1")
    assert (job.state, len(job.segments)) == ("completed", 3)
    assert len(ollama.requests) == 1
    assert "out of memory (maxmemory)" in str([vars(record) for record in caplog.records])


BETTER = ["Let us move the release to Friday!", "민아 씨가 고객에게 알립니다!", "The release is on Friday, then!"]


def corrections(job: str, texts: list[str] = BETTER) -> list[Message]:
    return [said(job, index, text).model_copy(update={"generation": 2}) for index, text in enumerate(texts)]


async def chosen(bus: Bus, store: JobStore, job: str) -> tuple[int, str]:
    """The generation with which a job was finished, and its text; all that say which it is agree."""
    found = await finished(bus, store, job)
    (done,) = await events(bus, job, Completed)
    assert found.summary is not None
    assert {segment.generation for segment in found.segments} == {done.generation}
    assert done.generation == found.summary.generation == found.generation
    return done.generation, found.transcript


async def test_a_live_job_waits_for_its_correction(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    await start(correction_wait=600)
    better = corrections("m1")
    await publish(bus, [better[1], *meeting("m1", correct=True), better[0]])
    await publish(bus, meeting("m2", correct=False))
    assert await chosen(bus, store, "m2") == (1, "\n".join(SENTENCES))
    assert await events(bus, "m1", Summary) == []
    await publish(bus, [better[2]])
    assert await chosen(bus, store, "m1") == (2, "\n".join(BETTER))
    assert "\n".join(BETTER) in ollama.requests[-1]["messages"][1]["content"]


async def test_a_correction_that_is_late_or_has_failed_is_not_used(bus: Bus, store: JobStore, start: Start) -> None:
    await start(correction_wait=0.2)
    await publish(bus, [*meeting("m1", correct=True), *corrections("m1")[:2]])
    assert await chosen(bus, store, "m1") == (1, "\n".join(SENTENCES))
    failed = said("m2", 2, "", error="out of memory").model_copy(update={"generation": 2})
    await publish(bus, [*corrections("m2")[:2], failed, *meeting("m2", correct=True)])
    assert await chosen(bus, store, "m2") == (1, "\n".join(SENTENCES))


async def test_after_a_crash_the_generation_of_the_summary_is_used(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    """A summary is on the bus; meanwhile the other generation was completed, or this worker has not read it yet."""
    summary = Summary(job="m1", title="T", summary="S", engine="ollama")
    await publish(bus, [summary, summary.model_copy(update={"job": "m2", "generation": 2})])
    await publish(bus, [*meeting("m1", correct=True)[:1], *corrections("m1"), *meeting("m1", correct=True)[1:]])
    await publish(bus, meeting("m2", correct=True))
    await publish(bus, corrections("m2"))
    await start(correction_wait=600)
    assert await chosen(bus, store, "m1") == (1, "\n".join(SENTENCES))
    assert await chosen(bus, store, "m2") == (2, "\n".join(BETTER))
    assert ollama.requests == []


async def test_two_workers_share_the_jobs(bus: Bus, store: JobStore, start: Start, ollama: OllamaServer) -> None:
    await start()
    await start()
    names = [f"m{number}" for number in range(20)]
    for name in names:
        await publish(bus, meeting(name))
    for name in names:
        await finished(bus, store, name)
    assert len(ollama.requests) == 20


async def test_an_erased_job_is_left_alone(bus: Bus, store: JobStore, start: Start) -> None:
    await store.create("m1", JobOptions())
    await store.erasures.erase("m1", settled=True, sweep_after=60)
    worker = await start()
    await publish(bus, [*meeting("m1"), *meeting("m2")])
    await finished(bus, store, "m2")

    async def settled() -> bool:
        info = await bus.connection.js.consumer_info("EVENTS", "summary")
        return (info.num_pending, info.num_ack_pending) == (0, 0)

    await wait_until(settled, description="both jobs are settled")
    assert not worker.done()
    assert await events(bus, "m1", Completed) == []
    assert await store.get("m1") is None
    assert await store.erasures.get("m1") is not None


async def fail(bus: Bus, job: str, *failed: int) -> None:
    """Publish a meeting of which some transcripts have failed."""
    events = meeting(job)
    for index in failed:
        events[3 + index] = said(job, index, "", error="out of memory")
    await publish(bus, events)


async def mend(bus: Bus, job: str, index: int) -> None:
    """Replace a failed transcript as a speech worker does."""
    await bus.replace(said(job, index, SENTENCES[index]))
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
    await mend(bus, "m1", 1)
    await corrected(store, "m1")
    after = await finished(bus, store, "m1")
    assert after.segments[1].error is None
    same = {"segments", "updated_at"}
    assert after.model_dump(exclude=same) == before.model_dump(exclude=same)


async def test_a_failed_transcript_of_the_correction_is_replaced(bus: Bus, store: JobStore, start: Start) -> None:
    await start(correction_wait=600)
    failed = [said("m1", 1, "", error="out of memory")]
    better = corrections("m1")
    first = [event for event in meeting("m1", correct=True) if event.subject != failed[0].subject]
    await publish(bus, [*first, *failed, better[0], better[2], failed[0].model_copy(update={"generation": 2})])
    assert await chosen(bus, store, "m1") == (2, f"{BETTER[0]}\n{BETTER[2]}")
    await bus.replace(said("m1", 1, SENTENCES[1]))  # of the live text, which is not what the job has
    await bus.create(Redriven(job="m1", worker="stt-live", stream="SPEECH", seq=2))
    await bus.replace(better[1])
    await bus.create(Redriven(job="m1", worker="stt-correction", stream="SPEECH", seq=2))

    async def mended() -> bool:
        found = await store.get("m1")
        return found is not None and found.transcript == "\n".join(BETTER)

    await wait_until(mended, description="the corrected text is complete")


async def test_concurrent_corrections_all_reach_the_store(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    await start()
    await start()
    await fail(bus, "m1", 0, 1, 2)
    await finished(bus, store, "m1")
    await asyncio.gather(*(mend(bus, "m1", index) for index in range(3)))
    await corrected(store, "m1")


async def test_a_correction_while_the_job_is_finished_is_not_lost(
    bus: Bus, store: JobStore, start: Start, ollama: OllamaServer
) -> None:
    gate = asyncio.Event()
    ollama.plan.append(waits_for(gate))
    await start()
    await fail(bus, "m1", 1)
    await wait_until(lambda: ollama.active == 1, description="the transcripts have been read")
    await mend(bus, "m1", 1)
    gate.set()
    await completed(bus, "m1")
    await corrected(store, "m1")


async def test_a_correction_waits_for_the_store(bus: Bus, store: JobStore, start: Start, redis_server: Server) -> None:
    await start()
    await fail(bus, "m1", 1)
    await finished(bus, store, "m1")
    await redis_server.kill()
    await mend(bus, "m1", 1)
    await redis_server.start()
    await corrected(store, "m1")


async def test_other_redriven_messages_are_no_corrections(bus: Bus, store: JobStore, start: Start) -> None:
    await start()
    await fail(bus, "m1", 1)
    before = await finished(bus, store, "m1")
    await bus.create(Redriven(job="m1", worker="webhook", stream="EVENTS", seq=9))

    async def settled() -> bool:
        info = await bus.connection.js.consumer_info("EVENTS", "corrections")
        return not info.num_pending and not info.num_ack_pending

    await wait_until(settled, description="it is acked")
    assert await store.get("m1") == before


def test_a_bad_store_url_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", "http://localhost")
    with pytest.raises(StartError, match="STORE_URL='http://localhost'"):
        asyncio.run(main(Bus(Connection("nats://127.0.0.1:4222")), Settings()))
