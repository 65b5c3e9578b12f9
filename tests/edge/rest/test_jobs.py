"""Jobs over REST."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from bus import Bus
from compose.servers import Server
from contract import JobOptions, Segmented, Summary, Transcript
from edge.rest.request import MAX_BODY
from store.jobs import connect as connect_store
from tests.edge.conftest import Edge, StartEdge, client
from tests.edge.meeting import hold, said
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


async def test_every_option_of_the_contract_is_accepted(edge: Edge) -> None:
    options = {
        "language": "ko",
        "allowed_languages": ["ko", "en"],
        "hotwords": "Stenobus",
        "source": "upload",
        "partials": False,
        "correct": False,
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


BAD_OPTIONS = [
    (b"{", 400, "the body is not JSON"),
    (b'{"title": "\\ud800"}', 400, "the body is not JSON: 'utf-8' codec can't encode character '\\ud800'"),
    (b'{"metadata": {"x": NaN}}', 400, "the body is not JSON: Out of range float values"),
    (b'{"metadata": {"x": 1e999}}', 400, "the body is not JSON: Out of range float values"),
    (b'{"metadata": {"x": 18446744073709551616}}', 422, "metadata: cannot be stored: Integer value out of"),
    (b'{"metadata": {"x": ' + b"[" * 600 + b"]" * 600 + b"}}", 422, "metadata: cannot be stored: "),
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
    (b'{"sample_rate": 47999}', 422, "sample_rate: 47999 is not a sample rate; accepted are 8000, 11025, 12000, 16000"),
    (b'{"task": "sing", "title": 3}', 422, "task: Input should be 'transcribe' or 'translate'; title:"),
    (b'{"webhook_url": "ftp://x"}', 422, "webhook_url: String should match pattern"),
    (b" " * (MAX_BODY + 1), 413, f"larger than {MAX_BODY} bytes"),
]


async def test_a_bad_create_request_is_refused_with_the_reason(edge: Edge) -> None:
    for body, status, says in BAD_OPTIONS:
        response = await post(edge, body)
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), body[:80]
        problem = response.json()
        assert problem["status"] == status
        assert says in problem["detail"]


async def test_a_live_job_shows_the_segments_so_far(edge: Edge, worker: Bus) -> None:
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

        await wait_until(counted, description="the number of segments is known")


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


async def socket_url(url: str, **headers: str) -> str:
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.post("/api/v1/stream/create", headers=headers)
        return str(response.json()["ws_url"]).replace(response.json()["job_id"], "JOB")


async def test_the_socket_is_on_the_host_that_created_the_job(start_edge: StartEdge) -> None:
    async with start_edge(hosts="example.org") as edge:
        assert await socket_url(edge.url) == f"{edge.sockets}/api/v1/stream/JOB"
        assert await socket_url(edge.url, Host="example.org") == "ws://example.org/api/v1/stream/JOB"
        https = await socket_url(edge.url, Host="example.org", **{"X-Forwarded-Proto": "https"})
        assert https == "wss://example.org/api/v1/stream/JOB"


async def test_the_socket_can_be_on_a_configured_host(start_edge: StartEdge) -> None:
    async with start_edge(capture_url="wss://capture.example.org/") as edge:
        assert await socket_url(edge.url) == "wss://capture.example.org/api/v1/stream/JOB"
    async with start_edge(capture_url="wss://example.org/ws/", root_path="/steno") as edge:
        assert await socket_url(edge.url) == "wss://example.org/ws/api/v1/stream/JOB"


async def list_jobs(edge: Edge, query: str = "") -> dict[str, Any]:
    response = await edge.get(f"/api/v1/jobs{query}")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_the_list_may_be_empty(edge: Edge) -> None:
    assert await list_jobs(edge) == {"jobs": [], "next_cursor": None, "searched": 0}


async def test_the_list_has_live_and_completed_jobs(edge: Edge, worker: Bus, redis_url: str) -> None:
    finished = await edge.create()
    await hold(worker, redis_url, finished)
    live = await edge.create(title="Standup", language="ko", source="upload")
    found = {job["job_id"]: job for job in (await list_jobs(edge))["jobs"]}
    assert set(found) == {finished, live}
    created_at, completed_at = (found[finished].pop(name) for name in ("created_at", "completed_at"))
    assert created_at < completed_at
    assert found[finished] == {
        "job_id": finished,
        "state": "completed",
        "title": "Greetings",
        "duration": 2.0,
        "segments": 2,
        "language": "en",
        "source": "live",
        "text": "Hello there. Goodbye.",
    }
    assert found[live].pop("created_at") >= created_at
    assert found[live] == {
        "job_id": live,
        "state": "created",
        "title": "Standup",
        "completed_at": None,
        "duration": None,
        "segments": None,
        "language": "ko",
        "source": "upload",
        "text": "",
    }


async def test_pages_of_the_list_follow_each_other(edge: Edge) -> None:
    created = [await edge.create() for _ in range(5)]
    found: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = await list_jobs(edge, f"?limit=2{cursor}")
        assert len(page["jobs"]) == expected
        found += [job["job_id"] for job in page["jobs"]]
        cursor = f"&cursor={page['next_cursor']}"
        await edge.create()  # what comes meanwhile is on no later page
    assert page["next_cursor"] is None
    assert sorted(found) == sorted(created)


async def test_the_list_can_be_searched_and_filtered(edge: Edge, worker: Bus, redis_url: str) -> None:
    first, second = await edge.create(title="Lab"), await edge.create(title="Standup")
    await hold(worker, redis_url, first, ("The budget is short.",))
    found = await list_jobs(edge, "?q=BUDGET%20lab")
    assert ([job["job_id"] for job in found["jobs"]], found["searched"]) == ([first], 2)
    assert found["jobs"][0]["text"].startswith("The budget is short.")
    assert [job["job_id"] for job in (await list_jobs(edge, "?q=standup"))["jobs"]] == [second]
    assert (await list_jobs(edge, "?q=budget&status=created,streaming"))["jobs"] == []
    assert [job["job_id"] for job in (await list_jobs(edge, "?status=created"))["jobs"]] == [second]
    assert len((await list_jobs(edge, "?q=%20&status="))["jobs"]) == 2


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("cafe", "Wir gehen ins Café."),
        ("ｃａｆé", "Wir gehen ins Cafe."),
        ("ABC", "ＡＢＣ株式会社です。"),
        ("ｶﾀｶﾅ", "カタカナで書きます。"),
        ("istanbul", "İstanbul'a gidiyoruz."),
    ],
)
async def test_the_search_minds_neither_case_accents_nor_width(
    edge: Edge, worker: Bus, redis_url: str, query: str, text: str
) -> None:
    job = await edge.create(title="Other")
    await hold(worker, redis_url, job, (text,))
    (found,) = (await list_jobs(edge, f"?q={quote(query)}"))["jobs"]
    assert found["job_id"] == job
    assert found["text"].startswith(text)
    titled = await edge.create(title=text)
    (found,) = (await list_jobs(edge, f"?q={quote(query)}&status=created"))["jobs"]
    assert found["job_id"] == titled


BAD_LISTS = [
    ("limit=0", "limit='0': Input should be greater than or equal to 1"),
    ("limit=201", "limit='201': Input should be less than or equal to 200"),
    ("limit=x", "limit='x': Input should be a valid integer"),
    ("status=dancing", "status='dancing': accepted are created, streaming, transcribing, summarizing, completed"),
    ("status=completed,deleted", "status='completed,deleted': accepted are created"),
    ("cursor=x", "cursor: 'x' is not the cursor of a page"),
    ("page=2", "unknown parameter 'page'; accepted are status, limit, cursor, q"),
    (f"q={'x' * 201}", "String should have at most 200 characters"),
]


async def test_a_bad_list_request_is_refused_with_the_reason(edge: Edge) -> None:
    for query, says in BAD_LISTS:
        response = await edge.get(f"/api/v1/jobs?{query}")
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM), query
        assert says in response.json()["detail"]


async def test_without_the_store_the_answer_is_503(edge: Edge, redis_server: Server) -> None:
    await redis_server.kill()
    response = await edge.get("/api/v1/jobs")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    await redis_server.start()
    assert (await list_jobs(edge))["jobs"] == []


FILES = [
    ("txt", "text/plain; charset=utf-8", "Hello there.\nGoodbye.\n"),
    ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,000 --> 00:00:01,000\nHello there.\n"),
    ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello there.\n"),
    ("md", "text/markdown; charset=utf-8", "# 주간 회의\n"),
    ("json", "application/json", "{"),
]


async def test_a_completed_job_can_be_downloaded_in_every_format(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create(title="주간 회의")
    await hold(worker, redis_url, job)
    for name, media_type, begins in FILES:
        response = await edge.get(f"/api/v1/jobs/{job}/transcript.{name}")
        assert (response.status_code, response.headers["content-type"]) == (200, media_type)
        assert response.text.startswith(begins)
        assert response.headers["content-disposition"] == (
            f"attachment; filename=\"download.{name}\"; filename*=UTF-8''%EC%A3%BC%EA%B0%84%20%ED%9A%8C%EC%9D%98.{name}"
        )
        if name == "json":
            assert len(json.loads(response.text)["segments"]) == 2


async def test_a_live_job_can_be_downloaded_so_far(edge: Edge, worker: Bus) -> None:
    job = await edge.create(title="Standup")
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt")).text == ""
        await worker.create(said(job, 1, "Second."))
        await worker.create(said(job, 0, "First."))
        assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt")).text == "First.\nSecond.\n"


async def test_another_generation_can_be_downloaded(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    await worker.create(Transcript(job=job, generation=2, index=0, start=0, end=16_000, text="Better."))
    assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt?generation=2")).text == "Better.\n"
    assert (await edge.get(f"/api/v1/jobs/{job}?generation=2")).json()["transcript"] == "Better."
    missing = await edge.get(f"/api/v1/jobs/{job}/transcript.txt?generation=3")
    assert (missing.status_code, missing.json()["detail"]) == (404, f"job {job!r} has no generation 3")


BAD_DOWNLOADS = [
    ("transcript.docx", 404, "no transcript format 'docx'; there are transcript.txt, transcript.srt"),
    ("transcript.txt?lines=3", 422, "unknown parameter 'lines'; accepted are generation"),
    ("transcript.txt?generation=0", 422, "generation='0': Input should be greater than or equal to 1"),
]


async def test_a_bad_download_is_refused_with_the_reason(edge: Edge) -> None:
    job = await edge.create()
    for path, status, says in BAD_DOWNLOADS:
        response = await edge.get(f"/api/v1/jobs/{job}/{path}")
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
        assert says in response.json()["detail"]


async def test_an_unknown_job_has_nothing_to_download(edge: Edge) -> None:
    for path in ("transcript.txt", "audio.wav", "peaks", "events"):
        response = await edge.get(f"/api/v1/jobs/nobody/{path}")
        assert (response.status_code, response.json()["detail"]) == (404, "no job 'nobody'")
