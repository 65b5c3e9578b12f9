from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from bus import Bus, connect
from compose.servers import Server
from contract import Completed, JobOptions, Segmented, Summary, Transcript
from edge.rest.body import MAX_BODY
from store.jobs import connect as connect_store
from tests.edge.conftest import Edge, client, running_edge
from tests.support import wait_until

PROBLEM = "application/problem+json"


async def post(edge: Edge, body: bytes | None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url) as http:
        return await http.post("/api/v1/stream/create", content=body)


async def test_create_answers_with_the_job_and_its_socket(edge: Edge) -> None:
    response = await post(edge, None)
    assert response.status_code == 201
    body = response.json()
    assert body["ws_url"] == f"{edge.url.replace('http', 'ws')}/api/v1/stream/{body['job_id']}"


async def test_every_option_of_the_wire_protocol_is_taken(edge: Edge) -> None:
    options = {
        "language": "ko",
        "allowed_languages": ["ko", "en"],
        "hotwords": "Stenobus",
        "source": "upload",
        "partials": False,
        "title": "주간 회의",
        "prompt": "예산",
        "task": "translate",
        "sample_rate": 48_000,
        "encoding": "opus",
        "vad": {"hangover_ms": 300},
        "summary": False,
        "webhook_url": "https://example.org/done",
        "metadata": {"room": 4, "tags": ["a"]},
    }
    job = await edge.create(**options)
    found = (await edge.get(f"/api/v1/jobs/{job}")).json()
    assert {name: found["options"][name] for name in options if name != "vad"} == {
        name: value for name, value in options.items() if name != "vad"
    }
    assert found["options"]["vad"]["hangover_ms"] == 300


BAD = [
    (b"{", 400, "the body is not JSON"),
    (b'{"title": "\\ud800"}', 400, "the body is not JSON: 'utf-8' codec can't encode character '\\ud800'"),
    (b'{"metadata": {"x": NaN}}', 400, "the body is not JSON: Out of range float values"),
    (b'{"metadata": {"x": 1e999}}', 400, "the body is not JSON: Out of range float values"),
    (b'{"metadata": {"x": 18446744073709551616}}', 422, "metadata: cannot be kept: Integer value out of"),
    (b'{"metadata": {"x": ' + b"[" * 600 + b"]" * 600 + b"}}", 422, "metadata: cannot be kept: "),
    (b"[" * 60_000, 400, "the body is not JSON"),
    (b"[]", 422, "body: Input should be"),
    (
        b'{"langauge": "en"}',
        422,
        "langauge: unknown field; accepted are language, allowed_languages, prompt, hotwords, task",
    ),
    (b'{"vad": {"silence": 1}}', 422, "vad.silence: unknown field; accepted are aggressiveness"),
    (b'{"vad": {"hangover_ms": 1}}', 422, "vad.hangover_ms: Input should be greater than or equal to 150"),
    (b'{"language": "xx"}', 422, "language: unknown language 'xx'; accepted are null (detect) and af"),
    (b'{"allowed_languages": ["en", "xx"]}', 422, "allowed_languages: unknown language 'xx'; accepted are af, am"),
    (b'{"allowed_languages": []}', 422, "allowed_languages: List should have at least 1 item"),
    (b'{"allowed_languages": ["en", "ko"], "language": "de"}', 422, "'de' is not one of allowed_languages, en, ko"),
    (b'{"encoding": "mp3"}', 422, "encoding: Input should be 'pcm_s16le'"),
    (b'{"sample_rate": 4000}', 422, "sample_rate: Input should be greater than or equal to 8000"),
    (b'{"task": "sing", "title": 3}', 422, "task: Input should be 'transcribe' or 'translate'; title:"),
    (b'{"webhook_url": "ftp://x"}', 422, "webhook_url: String should match pattern"),
    (b" " * (MAX_BODY + 1), 413, f"larger than {MAX_BODY} bytes"),
]


async def test_a_bad_create_request_is_told_what_is_wrong(edge: Edge) -> None:
    for body, status, says in BAD:
        response = await post(edge, body)
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), body[:80]
        problem = response.json()
        assert problem["status"] == status
        assert says in problem["detail"]


@pytest.mark.parametrize(("path", "status"), [("/api/v1/jobs/nobody", 404), ("/nowhere", 404)])
async def test_what_is_not_there_is_a_problem_too(edge: Edge, path: str, status: int) -> None:
    response = await edge.get(path)
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)


async def test_a_wrong_method_is_a_problem_too(edge: Edge) -> None:
    response = await edge.get("/api/v1/stream/create")
    assert (response.status_code, response.headers["content-type"]) == (405, PROBLEM)


async def test_a_live_job_shows_what_was_said_so_far(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        for index, text in ((1, "Second."), (0, "First.")):
            await worker.create(Transcript(job=job, index=index, start=0, end=16_000, text=text))

        async def streaming() -> bool:
            return bool((await edge.get(f"/api/v1/jobs/{job}")).json()["state"] == "streaming")

        await wait_until(streaming, description="the state is noted")
        found = (await edge.get(f"/api/v1/jobs/{job}")).json()
        assert [segment["text"] for segment in found["segments"]] == ["First.", "Second."]
        assert (found["transcript"], found["summary"], found["duration"]) == ("First.\nSecond.", None, None)
        assert found["progress"] == {"transcribed": 2, "failed": 0, "segments": None}
        await meeting.command("stop")
        await worker.create(Transcript(job=job, index=2, start=0, end=1, text="", error="too hot"))
        await worker.create(Segmented(job=job, segments=4, samples=480))

        async def counted() -> bool:
            progress = (await edge.get(f"/api/v1/jobs/{job}")).json()["progress"]
            return bool(progress == {"transcribed": 3, "failed": 1, "segments": 4})

        await wait_until(counted, description="what is still to come is told")


async def test_a_finished_job_shows_everything(edge: Edge, redis_url: str) -> None:
    job = await edge.create(title="standup")
    transcripts = [Transcript(job=job, index=0, start=8_000, end=16_000, text="Hello.", language="en")]
    summary = Summary(job=job, title="T", summary="S", engine="ollama", model="gemma3")
    async with connect_store(redis_url) as store:
        await store.finish(
            job, options=JobOptions(title="standup"), samples=40_000, transcripts=transcripts, summary=summary
        )
    found = (await edge.get(f"/api/v1/jobs/{job}")).json()
    assert (found["state"], found["duration"], found["options"]["title"]) == ("completed", 2.5, "standup")
    assert (found["title"], found["source"]) == ("standup", "live")
    assert found["progress"] == {"transcribed": 1, "failed": 0, "segments": 1}
    assert found["segments"][0]["start"] == 0.5
    assert found["summary"]["title"] == "T"
    assert found["completed_at"]


async def test_ready_means_that_bus_store_and_workers_are_there(edge: Edge, worker: Bus) -> None:
    assert (await edge.get("/healthz")).json() == {"status": "ok"}
    response = await edge.get("/readyz")
    assert response.status_code == 503
    missing = "no worker answers"
    assert response.json()["checks"] == {"bus": "ok", "store": "ok", "vad": missing, "stt": missing, "summary": missing}
    for kind in ("vad", "stt", "summary"):
        await worker.announce(kind)
    response = await edge.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ready")


async def test_servers_that_are_away_at_the_start_are_waited_for_and_told(
    nats_server: Server, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_server.url)
    await nats_server.kill()
    await redis_server.kill()
    async with running_edge(nats_server.url, wait=False, requires="") as edge:
        assert (await edge.get("/healthz")).status_code == 200

        async def checks() -> dict[str, str]:
            response = await edge.get("/readyz")
            assert response.status_code == 503
            return dict(response.json()["checks"])

        async def told() -> bool:
            found = await checks()
            return "cannot be reached" in found["bus"] and "connection refused" in found["store"]

        await wait_until(told, description="both are missed")
        refused = await post(edge, None)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["retry_after"] == 2
        await redis_server.start()
        refused = await post(edge, None)
        assert "NATS at" in json.dumps(refused.json())
        await nats_server.start()

        async def ready() -> bool:
            return (await edge.get("/readyz")).status_code == 200

        await wait_until(ready, description="the edge is ready")
        job = await edge.create()
        async with client(edge, job) as meeting:
            await meeting.until("connection_success")


async def test_a_store_that_goes_away_refuses_new_jobs_and_keeps_running_ones(
    edge: Edge, redis_server: Server, nats_url: str
) -> None:
    job, other = await edge.create(), await edge.create()
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        await redis_server.kill()
        async with client(edge, other) as refused:
            assert await refused.closed() == 1013
            error: dict[str, Any] = refused.of("error")[0]
            assert (error["code"], error["retry_after"]) == ("unavailable", 2)
            assert "connection refused" in error["message"]
        await meeting.socket.send(b"\0" * 960)
        await meeting.command("stop")
        async with connect(nats_url) as bus:
            await wait_until(lambda: bus.last_raw(f"events.{job}.closed"), description="the job is closed")
            await bus.create(Completed(job=job, segments=0, samples=480))
        assert await meeting.closed() == 1000
        await redis_server.start()
