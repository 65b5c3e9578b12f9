"""Replays over REST."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from bus import Bus, connect
from compose.servers import Server
from contract import Closed, Opened, Replay, Replayed, Transcript, Utterance
from tests.edge.conftest import Edge, client, running_edge
from tests.edge.meeting import close, hold, pcm, said, send
from tests.edge.rest.test_erasure import delete, left
from tests.support import wait_until

PROBLEM = "application/problem+json"


async def ask(edge: Edge, job: str, body: Any = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
        return await http.post(f"/api/v1/jobs/{job}/replay", json=body)


async def requested(bus: Bus, job: str, generation: int = 2) -> Replay:
    found = await bus.last(Replay, f"events.{job}.replay.{generation}")
    assert found is not None
    return found.value


async def record(bus: Bus, job: str) -> None:
    """A job with complete audio."""
    await bus.create(Opened(job=job))
    await send(bus, job, 0, 16_000)
    await close(bus, job, 16_000)


async def again(bus: Bus, job: str, generation: int, *texts: str, model: str = "m") -> None:
    """The output of the processors for a replay."""
    for index, text in enumerate(texts):
        made = said(job, index, text).model_copy(update={"generation": generation, "model": model})
        await bus.create(made)
    await bus.create(Replayed(job=job, generation=generation, segments=len(texts), samples=16_000 * len(texts)))


async def test_a_replay_has_the_options_of_the_job(edge: Edge, worker: Bus) -> None:
    options = {"language": "en", "prompt": "names", "vad": {"hangover_ms": 400, "max_hangover_ms": 700}}
    job = await edge.create(title="Standup", allowed_languages=["en", "ko"], **options)
    await record(worker, job)
    own = (await edge.get(f"/api/v1/jobs/{job}")).json()["options"]
    response = await ask(edge, job)
    assert (response.status_code, response.json()) == (202, {"job_id": job, "generation": 2})
    wanted = await requested(worker, job)
    assert (wanted.speed, wanted.options.model_dump()) == (None, own)
    assert (own["title"], own["prompt"], own["vad"]["hangover_ms"]) == ("Standup", "names", 400)


async def test_a_replay_can_have_other_options(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create(title="Standup")
    await hold(worker, redis_url, job)
    changes = {"language": "ko", "allowed_languages": ["ko"], "prompt": "p", "hotwords": "h", "model": "large-v3"}
    vad = {"aggressiveness": 3, "hangover_ms": 500}
    response = await ask(edge, job, {"speed": 1.5, "vad": vad, **changes})
    assert response.json() == {"job_id": job, "generation": 2}
    first = await requested(worker, job)
    assert first.speed == 1.5
    assert first.options.model_dump(include=set(changes)) == changes
    assert first.options.vad.model_dump(exclude_none=True) == vad


async def test_null_is_different_from_a_missing_field(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    assert (await ask(edge, job, {"language": "ko", "speed": None})).status_code == 202
    assert (await requested(worker, job)).options.language == "ko"
    async with httpx.AsyncClient(base_url=edge.url) as http:
        assert (await http.post(f"/api/v1/jobs/{job}/replay")).json()["generation"] == 3
    assert (await requested(worker, job, 3)).options.language is None


BAD: list[tuple[Any, int, str]] = [
    ({"sped": 1}, 422, "sped: unknown field; accepted are speed, model, language, allowed_languages, prompt"),
    ({"speed": 0}, 422, "speed: Input should be greater than or equal to 0.1"),
    ({"speed": 1e-300}, 422, "speed: Input should be greater than or equal to 0.1"),
    ({"speed": 101}, 422, "speed: Input should be less than or equal to 100"),
    ({"speed": "max"}, 422, "speed: Input should be a valid number"),
    ({"model": ""}, 422, "model: String should have at least 1 character"),
    ({"model": 3}, 422, "model: Input should be a valid string"),
    ({"language": "xx"}, 422, "language: unknown language 'xx'; accepted are null (detect) and af"),
    ({"language": "de"}, 422, "language: 'de' is not one of allowed_languages, en, ko"),
    ({"vad": {"silence": 1}}, 422, "vad.silence: unknown field; accepted are aggressiveness"),
    ({"vad": {"min_hangover_ms": 900}}, 422, "vad: min_hangover_ms is 900: at most hangover_ms is accepted"),
    ([], 422, "body: Input should be"),
]


async def test_a_bad_request_is_refused_with_the_reason(edge: Edge, worker: Bus) -> None:
    job = await edge.create(allowed_languages=["en", "ko"], vad={"hangover_ms": 400})
    await record(worker, job)
    for body, status, says in BAD:
        response = await ask(edge, job, body)
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), body
        assert says in response.json()["detail"]
    assert await worker.history("EVENTS", Replay.pattern(job)) == []


async def test_what_cannot_be_replayed(edge: Edge, worker: Bus, redis_url: str) -> None:
    unknown = await ask(edge, "nobody")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "no job 'nobody'")

    created = await edge.create()
    assert (await ask(edge, created)).status_code == 409
    live = await edge.create()
    async with client(edge, live) as meeting:
        await meeting.until("connection_success")
        await meeting.socket.send(pcm(0, 1_600))
        await meeting.until("ack")
        refused = await ask(edge, live)
        assert (refused.status_code, refused.headers["content-type"]) == (409, PROBLEM)
        assert refused.json()["detail"] == f"job {live!r} is live: it can be replayed once its audio has ended"
        await meeting.command("stop")
        await wait_until(lambda: worker.last_raw(Closed.pattern(live)), description="the job is closed")
        assert (await ask(edge, live)).status_code == 202

    job = await edge.create()
    await hold(worker, redis_url, job)
    await worker.connection.js.purge_stream("AUDIO", subject=f"audio.{job}", keep=1)  # its end alone
    for _ in range(2):
        gone = await ask(edge, job)
        assert (gone.status_code, gone.json()["detail"]) == (410, f"the audio of job {job!r} is no longer stored")
        await worker.connection.js.purge_stream("AUDIO", subject=f"audio.{job}")
    assert (await delete(edge, job)).status_code == 204
    assert "was erased at" in (await ask(edge, job)).json()["detail"]


async def test_simultaneous_replays_have_different_generations(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    answers = await asyncio.gather(*(ask(edge, job) for _ in range(6)))
    assert sorted(answer.json()["generation"] for answer in answers) == list(range(2, 8))


async def test_a_generation_is_not_reused_while_anything_is_stored_of_it(
    edge: Edge, worker: Bus, redis_url: str
) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    await worker.publish(
        Utterance(job=job, generation=4, source="replay", index=0, start=0, end=1_600, pcm=bytes(3_200))
    )
    assert (await ask(edge, job)).json()["generation"] == 5
    await worker.create(Transcript(job=job, generation=7, index=0, start=0, end=1_600, text="x"))
    assert (await ask(edge, job)).json()["generation"] == 8


async def test_a_job_has_its_generations(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    first = {"generation": 1, "segments": 2, "done": True, "model": None}
    assert (await edge.get(f"/api/v1/jobs/{job}")).json()["generations"] == [first]
    for _ in range(2):
        await ask(edge, job)
    waiting = (await edge.get(f"/api/v1/jobs/{job}?generation=3")).json()
    assert waiting["segments"] == []
    assert waiting["progress"] == {"transcribed": 0, "failed": 0, "segments": None}
    await worker.create(said(job, 0, "Hallo.").model_copy(update={"generation": 3, "model": "m"}))
    await again(worker, job, 2, "Hello, there.", "Bye.", "Now.", model="large-v3")
    record = (await edge.get(f"/api/v1/jobs/{job}")).json()
    assert record["transcript"] == "Hello there.\nGoodbye."
    assert record["generations"] == [
        first,
        {"generation": 2, "segments": 3, "done": True, "model": "large-v3"},
        {"generation": 3, "segments": 1, "done": False, "model": "m"},
    ]
    second = (await edge.get(f"/api/v1/jobs/{job}?generation=2")).json()
    assert second["transcript"] == "Hello, there.\nBye.\nNow."
    assert second["progress"] == {"transcribed": 3, "failed": 0, "segments": 3}
    assert second["generations"] == record["generations"]
    assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt?generation=2")).text == "Hello, there.\nBye.\nNow.\n"
    assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt")).text == "Hello there.\nGoodbye.\n"


async def test_erasing_a_job_erases_all_generations(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    await ask(edge, job)
    await worker.publish(
        Utterance(job=job, generation=2, source="replay", index=0, start=0, end=1_600, pcm=bytes(3_200))
    )
    await again(worker, job, 2, "secret")
    assert (await delete(edge, job)).status_code == 204
    # Somebody may be at work on it, so that marks are left for that; they have nothing in them.
    subjects = await left(worker, job)
    assert sorted(subjects) == [f"audio.{job}", f"events.{job}.completed", f"events.{job}.segmented"]


async def test_an_unreadable_replay_is_ignored(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    await record(worker, job)
    for subject in (f"events.{job}.replay.2", f"events.{job}.replay.x", f"speech.{job}.y.replay"):
        await worker.connection.js.publish(subject, b"garbage")
    assert (await ask(edge, job)).json()["generation"] == 3
    assert [each["generation"] for each in (await edge.get(f"/api/v1/jobs/{job}")).json()["generations"]] == [1, 3]


async def test_a_completed_job_can_be_read_without_the_bus(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_server.url, answer_within=0.3) as edge, connect(nats_server.url) as worker:
        job = await edge.create()
        await hold(worker, redis_url, job)
        await nats_server.kill()
        await wait_until(lambda: edge.bus.connection.trouble, description="the edge knows")
        record = (await edge.get(f"/api/v1/jobs/{job}")).json()
        assert (record["transcript"], record["generations"]) == ("Hello there.\nGoodbye.", None)
        for response in (await edge.get(f"/api/v1/jobs/{job}?generation=2"), await ask(edge, job)):
            assert (response.status_code, response.headers["content-type"]) == (503, PROBLEM)
