"""The capture socket over a real connection; the test plays the processors on the bus."""

from __future__ import annotations

import json

import pytest

from bus import Bus
from contract import Completed, Opened, Progress, Segmented, Summary, Word
from contract.audio import decode_audio
from tests.edge.capturing import FRAME, closed, final, play_processors, stored
from tests.edge.conftest import Client, Edge, client
from tests.support import wait_until


@pytest.mark.parametrize("path", ["/api/v1/stream", "/ws", "/ws/v1/stream"])
async def test_a_meeting_from_first_frame_to_summary(edge: Edge, worker: Bus, path: str) -> None:
    job = await edge.create(language="en", title="standup")
    async with client(edge, job, path) as meeting:
        assert await meeting.until("connection_success") == {
            "type": "connection_success",
            "job_id": job,
            "next_sample": 0,
            "message": "connected: send audio",
        }
        opened = await worker.last(Opened, Opened.pattern(job))
        assert opened is not None
        assert (opened.value.options.language, opened.value.options.title) == ("en", "standup")
        for _ in range(20):
            await meeting.socket.send(FRAME)
        word = Word(word="Hello", start=1_600, end=4_000, probability=0.91234)
        await worker.create(final(job, 1, "Second."))
        await worker.create(final(job, 0, "Hello.", language="en", confidence=0.5, words=[word]))
        assert (await meeting.until("transcript_segment"))["index"] == 1
        assert await meeting.until("transcript_segment", 2) == {
            "type": "transcript_segment",
            "index": 0,
            "segment_number": 1,
            "start": 0.0,
            "end": 0.5,
            "text": "Hello.",
            "language": "en",
            "confidence": 0.5,
            "words": [{"word": "Hello", "start": 0.1, "end": 0.25, "probability": 0.9123}],
        }
        await meeting.command("keepalive")
        await meeting.command("stop")
        end = await closed(worker, job)
        assert (end.samples, end.reason) == (20 * 480, "stop")
        assert await stored(worker, job) == FRAME * 20
        await worker.create(Segmented(job=job, segments=2, samples=end.samples))
        await worker.create(Summary(job=job, title="T", summary="S", engine="ollama", model="gemma3"))
        await worker.create(Completed(job=job, segments=2, samples=end.samples))
        summary = await meeting.until("final_summary")
        assert (summary["transcript"], summary["total_segments"]) == ("Hello.\nSecond.", 2)
        assert (summary["job_id"], summary["summary"]["title"], summary["summary"]["model"]) == (job, "T", "gemma3")
        assert await meeting.closed() == 1000
        kinds = [message["type"] for message in meeting.received]
        assert kinds[-2:] == ["ack", "final_summary"]
        assert meeting.of("ack")[-1]["samples"] == 20 * 480
        assert not meeting.of("error")


async def test_acks_never_run_ahead_of_what_is_stored(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        for n in range(1, 4):
            for _ in range(30):
                await meeting.socket.send(FRAME)
            ack = await meeting.until("ack", n)
            assert ack["samples"] * 2 <= len(await stored(worker, job))
        acks = [message["samples"] for message in meeting.of("ack")]
        assert acks == sorted(set(acks))
        await wait_until(lambda: meeting.of("ack")[-1]["samples"] == 90 * 480, description="all is acked")


async def test_status_has_state_and_lag(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        for _ in range(100):
            await meeting.socket.send(FRAME)
        await wait_until(
            lambda: {"type": "status", "state": "streaming", "lag": 3.0} in meeting.received, description="lag"
        )
        await worker.publish(Progress(job=job, heard=48_000, floor=32_000, segments=1, start=16_000))
        await wait_until(lambda: meeting.of("status")[-1]["lag"] == 2.0, description="a segment that waits counts")
        await worker.create(final(job, 0, "Hello."))
        await wait_until(lambda: meeting.of("status")[-1]["lag"] == 1.0, description="what is open counts")
        await meeting.command("stop")
        await wait_until(lambda: meeting.of("status")[-1]["state"] == "transcribing", description="transcribing")
        await worker.create(Segmented(job=job, segments=1, samples=48_000))
        await wait_until(
            lambda: meeting.of("status")[-1] == {"type": "status", "state": "summarizing", "lag": 0.0},
            description="all is transcribed",
        )


async def test_a_client_that_leaves_without_a_word_ends_its_job_too(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        for _ in range(10):
            await meeting.socket.send(FRAME)
        meeting.socket.transport.abort()
    end = await closed(worker, job)
    assert end.reason == "disconnect"
    assert end.samples * 2 == len(await stored(worker, job))
    frames = [decode_audio(raw.data) for raw in await worker.history("AUDIO", f"audio.{job}")]
    assert frames[-1].last


@pytest.mark.parametrize(
    ("encoding", "rate", "width"), [("pcm_s16le", 48_000, 2), ("pcm_f32le", 44_100, 4), ("mulaw", 8_000, 1)]
)
async def test_other_encodings_reach_the_bus_as_16_khz(
    edge: Edge, worker: Bus, encoding: str, rate: int, width: int
) -> None:
    job = await edge.create(encoding=encoding, sample_rate=rate)
    async with client(edge, job) as meeting:
        for _ in range(20):  # two seconds in tenths
            await meeting.socket.send(b"\0" * (rate // 10 * width))
        await meeting.command("stop")
        end = await closed(worker, job)
        assert abs(end.samples - 32_000) <= 2
        await play_processors(worker, job, [], end.samples)
        assert await meeting.closed() == 1000
        assert meeting.of("ack")[-1]["samples"] == 2 * rate  # counted as the client counts


async def test_audio_sent_before_the_server_has_welcomed_the_client_is_not_lost(edge: Edge, worker: Bus) -> None:
    """A client that speaks first: its job is not claimed yet when frames and even the stop have arrived."""
    job = await edge.create()
    async with edge.socket(job) as connection:
        for _ in range(5):
            await connection.send(FRAME)
        await connection.send(json.dumps({"command": "stop"}))
        meeting = Client(connection)
        end = await closed(worker, job)
        assert (end.samples, end.reason) == (5 * 480, "stop")
        assert await stored(worker, job) == FRAME * 5
        assert (await meeting.until("connection_success"))["next_sample"] == 0
        meeting.reading.cancel()
