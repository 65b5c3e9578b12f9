"""Erasing jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from bus import Bus, connect
from compose.servers import Server
from contract import Closed, JobOptions, Opened, Summary, Utterance
from edge.rest import erasure
from processors.summary import __main__ as summary
from processors.summary.writer import Settings as SummarySettings
from processors.vad import __main__ as vad
from processors.vad.settings import Settings as VadSettings
from store.jobs import connect as connect_store
from tests.edge.conftest import Edge, client, running_edge
from tests.edge.meeting import close, complete, hold, pcm, said, send, transcribe
from tests.support import wait_until

PROBLEM = "application/problem+json"
SUBRESOURCES = ("", "/transcript.txt", "/audio.wav", "/peaks", "/events")


async def delete(edge: Edge, job: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
        return await http.delete(f"/api/v1/jobs/{job}")


async def left(bus: Bus, job: str) -> list[str]:
    subjects = {"AUDIO": f"audio.{job}", "SPEECH": f"speech.{job}.>", "EVENTS": f"events.{job}.>"}
    return [raw.subject for stream, subject in subjects.items() for raw in await bus.history(stream, subject)]


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short delays between sweeps."""
    monkeypatch.setattr(erasure, "SWEEPS", (0.2, 0.2, 0.2))
    monkeypatch.setattr(erasure, "POLL_INTERVAL", 0.05)


async def test_nothing_is_left_of_a_completed_job(edge: Edge, worker: Bus, redis_url: str) -> None:
    job, other = await edge.create(title="secret"), await edge.create()
    for each in (job, other):
        await hold(worker, redis_url, each)
    kept = await left(worker, other)
    assert (await edge.get(f"/api/v1/jobs/{job}/peaks")).status_code == 200

    response = await delete(edge, job)
    assert (response.status_code, response.content) == (204, b"")
    assert await left(worker, job) == []
    for path in SUBRESOURCES:
        gone = await edge.get(f"/api/v1/jobs/{job}{path}")
        assert (gone.status_code, gone.headers["content-type"]) == (410, PROBLEM)
        assert f"job {job!r} was erased at 20" in gone.json()["detail"]
    listed = (await edge.get("/api/v1/jobs")).json()["jobs"]
    assert [found["job_id"] for found in listed] == [other]
    assert (await edge.get("/api/v1/jobs?q=hello")).json()["searched"] == 1

    assert (await delete(edge, job)).status_code == 204
    assert await left(worker, job) == []
    assert await left(worker, other) == kept
    assert (await edge.get(f"/api/v1/jobs/{other}")).json()["transcript"] == "Hello there.\nGoodbye."


async def test_a_live_job_must_be_stopped_first(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        await meeting.socket.send(pcm(0, 1_600))
        refused = await delete(edge, job)
        assert (refused.status_code, refused.headers["content-type"]) == (409, PROBLEM)
        assert f"job {job!r} is live: stop it first" in refused.json()["detail"]
        assert (await edge.get(f"/api/v1/jobs/{job}")).json()["state"] in ("created", "streaming")
        await meeting.command("stop")
        await wait_until(lambda: worker.last_raw(f"events.{job}.closed"), description="the job is closed")
        assert (await delete(edge, job)).status_code == 204
        # Who waits for the results is not left waiting.
        assert await meeting.closed() == 1000
        assert meeting.of("final_summary")[0]["summary"] is None


async def test_a_job_that_no_client_opened(edge: Edge) -> None:
    job = await edge.create()
    assert (await delete(edge, job)).status_code == 204
    assert (await edge.get(f"/api/v1/jobs/{job}")).status_code == 410
    async with client(edge, job) as late:
        assert await late.closed() == 4004


async def test_an_invalid_id_erases_nothing(edge: Edge, worker: Bus, redis_url: str) -> None:
    await hold(worker, redis_url, "a")
    before = await left(worker, "a")
    assert before
    for job in ("nobody", "*", "%3E", "%2A", "a.b", "x" * 65, "%C3%A9"):
        response = await delete(edge, job)
        assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM), job
        assert await left(worker, "a") == before


async def test_a_job_that_only_the_bus_has(edge: Edge, worker: Bus) -> None:
    await transcribe(worker, said("lost"))
    await worker.create(Closed(job="lost", samples=16_000, reason="stop"))
    assert (await delete(edge, "lost")).status_code == 204
    assert (await edge.get("/api/v1/jobs/lost")).status_code == 410


@pytest.mark.usefixtures("swift")
async def test_late_messages_are_swept(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await worker.create(Opened(job=job))
    await send(worker, job, 0, 16_000)
    await close(worker, job, 16_000)
    await worker.publish(Utterance(job=job, index=0, start=0, end=16_000, pcm=pcm(0, 16_000)))
    assert (await delete(edge, job)).status_code == 204
    # A transcript, a summary and the completed job, from workers that began before the erasure.
    await worker.create(said(job))
    await worker.create(Summary(job=job, title="T", summary="S", engine="none"))
    await complete(worker, redis_url, job, said(job))

    async def nothing_is_left() -> bool:
        return await left(worker, job) == []

    await wait_until(nothing_is_left, description="late messages and marks are removed")
    await worker.create(said(job, 1))
    await wait_until(lambda: _swept(redis_url), description="all sweeps have passed")
    assert (await edge.get(f"/api/v1/jobs/{job}")).status_code == 410


async def _swept(redis_url: str) -> bool:
    async with Redis.from_url(redis_url) as redis:
        return not await redis.exists("stenobus:erasures")


@pytest.mark.usefixtures("swift")
async def test_marks_stay_while_workers_may_wait_for_them(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await close(worker, job, 0)
    await delete(edge, job)
    assert sorted(await left(worker, job)) == [
        f"audio.{job}",
        f"events.{job}.completed",
        f"events.{job}.segmented",
    ]
    await wait_until(lambda: _swept(redis_url), description="all sweeps have passed")
    assert await left(worker, job) == []


@asynccontextmanager
async def processors(nats_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A segmenter and a summary worker; nobody transcribes."""
    monkeypatch.setenv("STORE_URL", redis_url)
    async with connect(nats_url, name="vad") as one, connect(nats_url, name="summary") as two:
        tasks = [
            asyncio.create_task(vad.main(one, VadSettings())),
            asyncio.create_task(summary.main(two, SummarySettings(ollama_host="http://127.0.0.1:9"))),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def in_hand(bus: Bus, durable: str) -> int | None:
    """How many jobs a kind of workers has; None before there is any."""
    try:
        found = await bus.connection.js.consumer_info("EVENTS", durable)
    except NotFoundError:
        return None
    return found.num_ack_pending or 0


async def test_workers_stop_working_on_an_erased_job(
    edge: Edge, worker: Bus, nats_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "POLL_INTERVAL", 0.05)
    # A segmenter waits 3 s for the reason why a job has ended: until then there must be marks.
    monkeypatch.setattr(erasure, "SWEEPS", (0.5, 4.0, 0.5))
    job = await edge.create()
    async with processors(nats_url, redis_url, monkeypatch):
        # A segmenter that has not read the end yet, and a summary that waits for transcripts.
        await worker.create(Opened(job=job, options=JobOptions()))
        await send(worker, job, 0, 16_000)
        await worker.create(Closed(job=job, samples=16_000, reason="stop"))

        async def at_work(number: int) -> bool:
            return [await in_hand(worker, durable) for durable in ("vad", "summary")] == [number] * 2

        await wait_until(lambda: at_work(1), description="both have the job")
        assert (await delete(edge, job)).status_code == 204
        await wait_until(lambda: at_work(0), description="both are free")
        await wait_until(lambda: _swept(redis_url), description="all sweeps have passed")

        async def nothing_is_left() -> bool:
            return await left(worker, job) == []

        await wait_until(nothing_is_left, description="nothing is left")
        assert await at_work(0)
    assert (await edge.get(f"/api/v1/jobs/{job}")).status_code == 410


async def test_without_the_bus_nothing_is_erased(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_server.url, answer_within=0.3) as edge, connect(nats_server.url) as worker:
        job = await edge.create()
        await hold(worker, redis_url, job)
        await nats_server.kill()
        await wait_until(lambda: edge.bus.connection.trouble, description="the edge knows")
        response = await delete(edge, job)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert "NATS at" in response.json()["detail"]
        assert (await edge.get(f"/api/v1/jobs/{job}")).json()["transcript"] == "Hello there.\nGoodbye."
        await nats_server.start()
        await wait_until(lambda: edge.bus.connection.trouble is None, description="the edge knows again")
        assert (await delete(edge, job)).status_code == 204
        assert await left(worker, job) == []


@pytest.mark.usefixtures("swift")
async def test_an_interrupted_erasure_is_completed(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_server.url, answer_within=0.5) as edge, connect(nats_server.url) as worker:
        job = await edge.create()
        await hold(worker, redis_url, job)
        async with connect_store(redis_url) as store:  # an edge began, and died
            await store.erasures.erase(job, settled=True, sweep_after=0.0)
        await nats_server.kill()
        await wait_until(lambda: edge.bus.connection.trouble, description="the edge knows")
        response = await delete(edge, job)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert f"the record of job {job!r} is erased, the rest will be erased later" in response.json()["detail"]
        assert (await edge.get(f"/api/v1/jobs/{job}")).status_code == 410
        await nats_server.start()

        async def nothing_is_left() -> bool:
            return await left(worker, job) == []

        # Sweeps that failed are lent to nobody for a minute, so the client's second try is sooner.
        await wait_until(lambda: edge.bus.connection.trouble is None, description="the edge knows again")
        assert (await delete(edge, job)).status_code == 204
        await wait_until(nothing_is_left, description="nothing is left")


@pytest.mark.usefixtures("swift")
async def test_another_edge_completes_an_erasure(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    async with connect_store(redis_url) as store:
        await store.erasures.erase(job, settled=True, sweep_after=0.0)

    async def nothing_is_left() -> bool:
        return await left(worker, job) == []

    await wait_until(nothing_is_left, description="nothing is left")


async def test_without_the_store_nothing_is_erased(edge: Edge, worker: Bus, redis_server: Server) -> None:
    await hold(worker, redis_server.url, "a")
    before = await left(worker, "a")
    await redis_server.kill()
    response = await delete(edge, "a")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert await left(worker, "a") == before
    await redis_server.start()
    assert (await delete(edge, "a")).status_code == 204


async def test_another_method_is_refused_with_those_that_exist(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as http:
        response = await http.put("/api/v1/jobs/a")
    assert response.status_code == 405
    assert {"GET", "DELETE"} <= set(response.headers["allow"].split(", "))
