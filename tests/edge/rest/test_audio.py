"""The audio of a job over REST."""

from __future__ import annotations

import asyncio
import io
import wave

import httpx
import pytest

from bus import Bus
from compose.servers import Server
from contract.audio import AudioFrame, encode_audio
from edge.rest import audio
from edge.rest.wav import wav_header
from tests.edge.conftest import Edge, client, running_edge
from tests.edge.meeting import RATE, close, complete, hold, pcm, said, send, transcribe
from tests.support import wait_until

PROBLEM = "application/problem+json"


async def fetch(edge: Edge, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
        return await http.request(method, f"/api/v1/jobs/{path}", headers=headers)


@pytest.fixture
async def job(edge: Edge, worker: Bus, redis_url: str) -> str:
    """A finished job with three seconds of sound."""
    job = await edge.create(title="Standup")
    await hold(worker, redis_url, job, ("One.", "Two.", "Three."))
    return job


async def test_the_audio_is_a_wav_file(edge: Edge, job: str) -> None:
    response = await fetch(edge, f"{job}/audio.wav")
    assert response.status_code == 200
    with wave.open(io.BytesIO(response.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        assert file.readframes(10 * RATE) == pcm(0, 3 * RATE)
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-disposition"] == "inline; filename=\"Standup.wav\"; filename*=UTF-8''Standup.wav"


async def test_a_stretch_in_seconds(edge: Edge, job: str) -> None:
    for query, start, end in [
        ("start=1&end=2", RATE, 2 * RATE),
        ("start=2.5", 40_000, 48_000),
        ("end=0.0001", 0, 2),
        ("start=1&end=99", RATE, 3 * RATE),
        ("start=3", 48_000, 48_000),
    ]:
        response = await fetch(edge, f"{job}/audio.wav?{query}")
        assert response.content == wav_header(end - start) + pcm(start, end)


async def test_byte_ranges(edge: Edge, job: str) -> None:
    whole = (await fetch(edge, f"{job}/audio.wav")).content
    ranges = "0-0 0-43 0-44 10-99 43-45 44-45 45-45 45-1000 1001- -1 -96001 96043-"
    for wanted in ranges.split():
        response = await fetch(edge, f"{job}/audio.wav", Range=f"bytes={wanted}")
        first, _, last = wanted.partition("-")
        expected = whole[int(first) : int(last) + 1 if last else None] if first else whole[-int(last) :]
        assert (response.status_code, response.content) == (206, expected), wanted
        begin = len(whole) - len(expected) if not first else int(first)
        assert response.headers["content-range"] == f"bytes {begin}-{begin + len(expected) - 1}/{len(whole)}"
        assert int(response.headers["content-length"]) == len(expected)


async def test_a_range_behind_the_end(edge: Edge, job: str) -> None:
    response = await fetch(edge, f"{job}/audio.wav", Range="bytes=100000-")
    assert (response.status_code, response.headers["content-range"]) == (416, "bytes */96044")
    assert response.headers["content-type"] == PROBLEM


async def test_unreadable_ranges_are_ignored(edge: Edge, job: str) -> None:
    for wanted in ("bytes=0-1,5-6", "seconds=1-2", "bytes=9-2"):
        response = await fetch(edge, f"{job}/audio.wav", Range=wanted)
        assert (response.status_code, len(response.content)) == (200, 96_044)


async def test_a_range_of_other_content_is_ignored(edge: Edge, job: str) -> None:
    tag = (await fetch(edge, f"{job}/audio.wav", "HEAD")).headers["etag"]
    same = await fetch(edge, f"{job}/audio.wav", **{"Range": "bytes=0-1", "If-Range": tag})
    other = await fetch(edge, f"{job}/audio.wav?start=1", **{"Range": "bytes=0-1", "If-Range": tag})
    assert (same.status_code, other.status_code) == (206, 200)


async def test_head_has_the_headers_only(edge: Edge, job: str) -> None:
    response = await fetch(edge, f"{job}/audio.wav", "HEAD")
    assert (response.status_code, response.headers["content-length"], response.content) == (200, "96044", b"")


async def test_a_live_job_has_the_audio_so_far(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    assert (await fetch(edge, f"{job}/audio.wav")).content == wav_header(0)
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        await meeting.socket.send(pcm(0, 16_000))
        await meeting.until("ack")
        response = await fetch(edge, f"{job}/audio.wav")
        assert response.content == wav_header(16_000) + pcm(0, 16_000)
        assert "etag" not in response.headers
        drawn = (await fetch(edge, f"{job}/peaks?points=3")).json()
        assert (drawn["end"], drawn["points"], len(drawn["max"])) == (1.0, 3, 3)


async def test_audio_ends_at_a_gap_that_may_still_be_filled(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    await send(worker, job, 0, 9_600)
    await send(worker, job, 10_080, 14_400)
    assert (await fetch(edge, f"{job}/audio.wav")).content == wav_header(9_600) + pcm(0, 9_600)
    await send(worker, job, 9_600, 14_400)
    assert (await fetch(edge, f"{job}/audio.wav")).content == wav_header(14_400) + pcm(0, 14_400)


async def test_expired_audio(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await send(worker, job, 0, 3 * RATE)
    await close(worker, job, 3 * RATE)
    await transcribe(worker, said(job, 0, "One.", 3))
    await worker.connection.js.purge_stream("AUDIO", subject=f"audio.{job}", keep=51)  # the last second and the end
    await complete(worker, redis_url, job, said(job, 0, "One.", 3))
    kept = 3.0 - 50 * 0.03
    for query in ("", "?start=1.4"):
        response = await fetch(edge, f"{job}/audio.wav{query}")
        assert (response.status_code, response.headers["content-type"]) == (410, PROBLEM)
        assert response.json()["available_from"] == kept
    assert "before 1.5 s is no longer stored; use start=1.5" in response.json()["detail"]
    assert (await fetch(edge, f"{job}/peaks")).status_code == 410
    there = await fetch(edge, f"{job}/audio.wav?start={kept}")
    assert there.content == wav_header(24_000) + pcm(24_000, 48_000)
    await worker.connection.js.purge_stream("AUDIO")
    for path in ("audio.wav", "audio.wav?start=2", "peaks"):
        response = await fetch(edge, f"{job}/{path}")
        assert (response.status_code, response.json()["detail"]) == (
            410,
            f"the audio of job {job!r} is no longer stored",
        )


async def test_a_job_without_audio_has_not_expired(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await close(worker, job, 0)
    await complete(worker, redis_url, job, said(job, 0, "x", 0))
    for _ in range(2):
        assert (await fetch(edge, f"{job}/audio.wav")).content == wav_header(0)
        assert (await fetch(edge, f"{job}/peaks?points=5")).json()["max"] == []
        await worker.connection.js.purge_stream("AUDIO")


BAD = [
    ("audio.wav?start=x", "start='x': Input should be a valid number"),
    ("audio.wav?start=-1", "start='-1': Input should be greater than or equal to 0"),
    ("audio.wav?start=nan", "start='nan': Input should be"),
    ("audio.wav?end=inf", "end='inf': Input should be a finite number"),
    ("audio.wav?start=2&end=1", "end=1 is not after start=2"),
    ("audio.wav?start=3.5", "start=3.5: the audio ends at 3.000 s"),
    ("audio.wav?from=1", "unknown parameter 'from'; accepted are start, end"),
    ("peaks?points=0", "points='0': Input should be greater than or equal to 1"),
    ("peaks?points=10001", "points='10001': Input should be less than or equal to 10000"),
]


async def test_a_bad_request_is_refused_with_the_reason(edge: Edge, job: str) -> None:
    for path, says in BAD:
        response = await fetch(edge, f"{job}/{path}")
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM), path
        assert says in response.json()["detail"]


async def test_peaks_are_the_lowest_and_highest_of_each_stretch(edge: Edge, job: str) -> None:
    drawn = (await fetch(edge, f"{job}/peaks?points=3&start=1&end=2")).json()
    values = memoryview(pcm(RATE, 2 * RATE)).cast("h")
    parts = [values[number * RATE // 3 : (number + 1) * RATE // 3] for number in range(3)]
    assert drawn == {
        "job_id": job,
        "start": 1.0,
        "end": 2.0,
        "points": 3,
        "min": [round(min(part) / 32_768, 4) for part in parts],
        "max": [round(max(part) / 32_768, 4) for part in parts],
    }


async def test_the_peaks_of_a_completed_job_outlive_its_audio(edge: Edge, worker: Bus, job: str) -> None:
    first = (await fetch(edge, f"{job}/peaks")).json()
    assert (first["points"], first["end"]) == (1_000, 3.0)
    await worker.connection.js.purge_stream("AUDIO")
    assert (await fetch(edge, f"{job}/peaks")).json() == first
    assert (await fetch(edge, f"{job}/peaks?points=10")).status_code == 410


async def test_without_the_bus_the_answer_is_503(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_server.url, answer_within=0.3) as edge:
        job = await edge.create()
        await nats_server.kill()
        await wait_until(lambda: edge.bus.connection.trouble, description="the edge knows")
        for path in ("audio.wav", "peaks", "events", "transcript.srt"):
            response = await fetch(edge, f"{job}/{path}")
            assert (response.status_code, response.headers["retry-after"]) == (503, "2")
            assert "NATS at" in response.json()["detail"]
        await nats_server.start()


async def test_a_client_that_stops_reading_loses_its_response(
    edge: Edge, worker: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audio, "SEND_TIMEOUT", 0.5)
    job = await edge.create()
    second = bytes(2 * RATE)
    for at in range(1_500):
        await worker.connection.nc.publish(f"audio.{job}", encode_audio(AudioFrame(at * RATE, second)))
    await worker.store(f"audio.{job}", encode_audio(AudioFrame(1_500 * RATE, b"", last=True)))

    port = int(edge.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
    writer.write(f"GET /api/v1/jobs/{job}/audio.wav HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert b"200 OK" in await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    delivered = 0

    async def response_ended() -> bool:
        nonlocal delivered
        for consumer in await worker.connection.js.consumers_info("AUDIO"):
            delivered = max(delivered, consumer.delivered.stream_seq if consumer.delivered else 0)
        return "response ended" in caplog.text

    await wait_until(response_ended, description="the response ends")
    assert 0 < delivered < 1_200  # what fits into the buffers of both sides, and one batch
    writer.close()
