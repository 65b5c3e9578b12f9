from __future__ import annotations

import json

from bus import Bus
from contract import Transcript
from tests.edge.conftest import Edge, client
from tests.edge.meeting import hold, said

PROBLEM = "application/problem+json"


FILES = [
    ("txt", "text/plain; charset=utf-8", "Hello there.\nGoodbye.\n"),
    ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,000 --> 00:00:01,000\nHello there.\n"),
    ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello there.\n"),
    ("md", "text/markdown; charset=utf-8", "# 주간 회의\n"),
    ("json", "application/json", "{"),
]


async def test_a_finished_job(edge: Edge, worker: Bus, redis_url: str) -> None:
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


async def test_a_live_job_has_what_there_is_so_far(edge: Edge, worker: Bus) -> None:
    job = await edge.create(title="Standup")
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt")).text == ""
        await worker.create(said(job, 1, "Second."))
        await worker.create(said(job, 0, "First."))
        assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt")).text == "First.\nSecond.\n"


async def test_another_generation(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    await worker.create(Transcript(job=job, generation=2, index=0, start=0, end=16_000, text="Better."))
    assert (await edge.get(f"/api/v1/jobs/{job}/transcript.txt?generation=2")).text == "Better.\n"
    assert (await edge.get(f"/api/v1/jobs/{job}?generation=2")).json()["transcript"] == "Better."
    missing = await edge.get(f"/api/v1/jobs/{job}/transcript.txt?generation=3")
    assert (missing.status_code, missing.json()["detail"]) == (404, f"job {job!r} has no generation 3")


BAD = [
    ("transcript.docx", 404, "no format 'docx' of a transcript; there are transcript.txt, transcript.srt"),
    ("transcript.txt?lines=3", 422, "unknown parameter 'lines'; accepted are generation"),
    ("transcript.txt?generation=0", 422, "generation='0': Input should be greater than or equal to 1"),
]


async def test_a_bad_request_is_told_what_is_wrong(edge: Edge) -> None:
    job = await edge.create()
    for path, status, says in BAD:
        response = await edge.get(f"/api/v1/jobs/{job}/{path}")
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
        assert says in response.json()["detail"]


async def test_of_an_unknown_job_there_is_nothing(edge: Edge) -> None:
    for path in ("transcript.txt", "audio.wav", "peaks", "events"):
        response = await edge.get(f"/api/v1/jobs/nobody/{path}")
        assert (response.status_code, response.json()["detail"]) == (404, "no job 'nobody'")
