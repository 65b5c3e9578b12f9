"""The capture socket over a real connection; the test plays the processors on the bus."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import struct
from typing import Any

import httpx
import pytest

from bus import Bus
from bus.audio import decode_audio
from bus.messages import Closed, Completed, Message, Opened, Progress, Segmented, Summary, Transcript, Word
from compose.servers import Server
from tests.edge.conftest import Client, Edge, client, running_edge
from tests.support import wait_until

FRAME = b"\x01\x02" * 480


def final(job: str, index: int, text: str, **fields: Any) -> Transcript:
    return Transcript(job=job, index=index, start=16_000 * index, end=16_000 * index + 8_000, text=text, **fields)


async def play_processors(bus: Bus, job: str, texts: list[str], samples: int) -> None:
    """What the processors publish about a job."""
    messages: list[Message] = [final(job, index, text, language="en") for index, text in enumerate(texts)]
    messages.append(Segmented(job=job, segments=len(texts), samples=samples))
    messages.append(Summary(job=job, title="Budget", summary="It is late.", key_points=["late"], engine="extractive"))
    messages.append(Completed(job=job, segments=len(texts), samples=samples))
    for message in messages:
        assert await bus.create(message)


async def stored(bus: Bus, job: str) -> bytes:
    return b"".join(decode_audio(raw.data).pcm for raw in await bus.history("AUDIO", f"audio.{job}"))


async def assembled(bus: Bus, job: str) -> tuple[bytes, bool]:
    """The sound as a reader has it that takes only what it expects next, and whether it met the end."""
    sound, last = b"", False
    for raw in await bus.history("AUDIO", f"audio.{job}"):
        frame = decode_audio(raw.data)
        if frame.start * 2 == len(sound):
            sound, last = sound + frame.pcm, frame.last
    return sound, last


async def closed(bus: Bus, job: str) -> Closed:
    await wait_until(lambda: bus.last_raw(Closed.pattern(job)), description="the job is closed")
    last = await bus.last(Closed, Closed.pattern(job))
    assert last is not None
    return last.value


@pytest.mark.parametrize("path", ["/api/v1/stream", "/ws"])
async def test_a_meeting_from_first_frame_to_summary(edge: Edge, worker: Bus, path: str) -> None:
    job = await edge.create(language="en", title="standup")
    async with client(edge, job, path) as meeting:
        assert await meeting.until("connection_success") == {
            "type": "connection_success",
            "job_id": job,
            "next_sample": 0,
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
        assert summary["transcript"] == "Hello.\nSecond."
        assert (summary["job_id"], summary["summary"]["title"], summary["summary"]["model"]) == (job, "T", "gemma3")
        assert await meeting.closed() == 1000
        kinds = [message["type"] for message in meeting.told]
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


async def test_status_tells_state_and_lag(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        for _ in range(100):
            await meeting.socket.send(FRAME)
        await wait_until(
            lambda: {"type": "status", "state": "streaming", "lag": 3.0} in meeting.told, description="lag"
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
    ("options", "data", "code", "close", "says"),
    [
        ({}, b"\0" * 961, "odd_length", 1008, "961 bytes are not whole samples: a multiple of 2"),
        ({}, b"\0" * 32_002, "frame_too_large", 1009, "32002 bytes in one message: at most 32000"),
        ({"encoding": "pcm_f32le"}, b"\0" * 6, "odd_length", 1008, "a multiple of 4"),
        ({"encoding": "mulaw", "sample_rate": 8_000}, b"\0" * 8_001, "frame_too_large", 1009, "at most 8000"),
        ({"encoding": "opus"}, b"\xff" * 50, "not_audio", 1008, "not an Opus packet"),
        ({"encoding": "opus"}, b"\xff" * 9_000, "frame_too_large", 1009, "Opus packet"),
        ({"encoding": "pcm_f32le"}, struct.pack("<f", float("nan")), "not_audio", 1008, "not a number"),
    ],
)
async def test_audio_that_is_none_ends_the_connection_and_keeps_what_came_before(
    edge: Edge, worker: Bus, options: dict[str, Any], data: bytes, code: str, close: int, says: str
) -> None:
    job = await edge.create(**options)
    async with client(edge, job) as meeting:
        if not options:
            await meeting.socket.send(FRAME)
        await meeting.socket.send(data)
        assert await meeting.closed() == close
        (error,) = meeting.of("error")
        assert error["code"] == code
        assert says in error["message"]
    assert (await closed(worker, job)).samples == (0 if options else 480)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("{", "not_json", "a text message must be JSON"),
        ('{"command":"dance"}', "unknown_command", 'unknown command "dance": accepted are {"command":"stop"}'),
        ("[]", "unknown_command", "unknown command null"),
        ('{"command":["stop"]}', "unknown_command", 'unknown command ["stop"]'),
    ],
)
async def test_text_that_means_nothing_is_told_and_the_meeting_goes_on(
    edge: Edge, worker: Bus, text: str, code: str, says: str
) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.socket.send(text)
        error = await meeting.until("error")
        assert error["code"] == code
        assert says in error["message"]
        await meeting.socket.send(FRAME)
        await meeting.command("stop")
        assert (await closed(worker, job)).samples == 480


async def test_audio_after_stop_is_refused(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.socket.send(FRAME)
        await meeting.command("stop")
        await meeting.socket.send(FRAME)
        assert (await meeting.until("error"))["code"] == "audio_after_stop"
        assert (await closed(worker, job)).samples == 480
        await play_processors(worker, job, ["Hello."], 480)
        assert await meeting.closed() == 1000


async def test_an_unknown_job_is_refused(edge: Edge) -> None:
    async with client(edge, "nobody") as meeting:
        assert await meeting.closed() == 4004
        assert meeting.of("error")[0]["code"] == "unknown_job"


async def test_a_newer_connection_takes_over_from_an_older_one(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as first:
        await first.socket.send(FRAME)
        await wait_until(lambda: stored(worker, job), description="the frame is stored")
        async with client(edge, job) as second:
            assert await first.closed() == 4010
            assert first.of("error")[-1]["code"] == "taken_over"
            assert (await second.until("connection_success"))["next_sample"] == 480
            await second.socket.send(FRAME)
            await second.command("stop")
            assert (await closed(worker, job)).samples == 960


async def test_a_client_resumes_at_another_edge_and_nothing_is_lost_or_doubled(
    edge: Edge, nats_url: str, worker: Bus
) -> None:
    noise = random.Random(3)  # noqa: S311
    frames = [noise.randbytes(960) for _ in range(90)]
    job = await edge.create()
    async with running_edge(nats_url) as other:
        acked = 0
        for number, where in enumerate((edge, other, edge)):
            async with client(where, job, query=f"?sample={acked}") as meeting:
                at = (await meeting.until("connection_success"))["next_sample"] // 480
                assert at * 480 >= acked
                for frame in frames[at : 30 * (number + 1)]:
                    await meeting.socket.send(frame)
                acked = (await meeting.until("ack"))["samples"]
                if number < 2:
                    meeting.socket.transport.abort()
                else:
                    await meeting.command("stop")
                    end = await closed(worker, job)
                    assert (end.samples, end.reason) == (90 * 480, "stop")
    assert await assembled(worker, job) == (b"".join(frames), True)


async def test_a_gap_is_refused_with_the_sample_that_is_expected(edge: Edge, worker: Bus) -> None:
    job = await edge.create(sample_rate=48_000)
    async with client(edge, job) as meeting:
        await meeting.socket.send(b"\0" * 96_000)
        await meeting.until("ack")
        meeting.socket.transport.abort()
    async with client(edge, job, query="?sample=100000") as late:
        assert await late.closed() == 1008
        (error,) = late.of("error")
        assert error["code"] == "gap"
        expected = int(re.findall(r"sample (\d+) is expected next", error["message"])[0])
        assert 0 < expected <= 48_000
    async with client(edge, job, query=f"?sample={expected}") as back:
        assert (await back.until("connection_success"))["next_sample"] == expected
        await back.command("stop")
        await closed(worker, job)


async def test_a_connection_with_a_gap_takes_nothing_from_a_live_one(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as live:
        await live.socket.send(FRAME)
        await live.until("ack")
        async with client(edge, job, query="?sample=100000") as late:
            assert await late.closed() == 1008
        await live.command("stop")
        assert (await closed(worker, job)).samples == 480


async def test_a_sample_that_is_no_number_is_refused(edge: Edge) -> None:
    async with client(edge, await edge.create(), query="?sample=-1") as meeting:
        assert await meeting.closed() == 1008
        assert "sample='-1': a sample index is accepted" in meeting.of("error")[0]["message"]


async def test_after_a_resume_all_finals_are_told_again(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await worker.create(final(job, 0, "Hello."))
        await meeting.until("transcript_segment")
        meeting.socket.transport.abort()
    async with client(edge, job) as back:
        assert (await back.until("transcript_segment"))["text"] == "Hello."


async def test_a_connection_that_says_nothing_ends(
    nats_url: str, redis_url: str, worker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_url, idle=1) as edge:
        job = await edge.create()
        async with client(edge, job) as meeting:
            await meeting.socket.send(FRAME)
            assert await meeting.closed() == 4008
            assert meeting.of("error")[0]["code"] == "idle"
        end = await closed(worker, job)
        assert (end.samples, end.reason) == (480, "idle")


async def test_a_full_edge_asks_to_come_later(
    nats_url: str, redis_url: str, worker: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_url, connections=1) as edge:
        job, other = await edge.create(), await edge.create()
        async with client(edge, job) as meeting:
            await meeting.until("connection_success")
            async with client(edge, other) as refused:
                assert await refused.closed() == 1013
                (error,) = refused.of("error")
                assert (error["code"], error["retry_after"]) == ("unavailable", 2)
                assert "1 captures, as many as it takes" in error["message"]
            await meeting.command("stop")
            await closed(worker, job)


async def test_a_closed_job_takes_no_connection(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.command("stop")
        await closed(worker, job)
    async with client(edge, job) as again:
        assert await again.closed() == 4009
        assert again.of("error")[0]["code"] == "job_closed"


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


async def test_a_stream_that_refuses_audio_makes_the_client_wait_and_loses_nothing(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    noise = random.Random(1).randbytes(32_000)  # noqa: S311
    config = (await worker.js.stream_info("AUDIO")).config
    await worker.js.update_stream(config.evolve(max_bytes=200_000))
    async with client(edge, job) as meeting:

        async def send() -> None:
            for _ in range(400):  # 12.8 MB: more than sockets and windows hold
                await meeting.socket.send(noise)
            await meeting.command("stop")

        sending = asyncio.create_task(send())
        await wait_until(lambda: meeting.of("ack") and meeting.of("status"), description="the first ack and status")
        assert len(await stored(worker, job)) < 200_000
        assert not sending.done()
        await worker.js.update_stream(config.evolve(max_bytes=-1))
        await sending
        end = await closed(worker, job)
        assert end.samples == 400 * 16_000


async def test_while_audio_cannot_be_stored_lag_grows_and_new_meetings_are_refused_with_a_reason(
    edge: Edge, worker: Bus
) -> None:
    job, other = await edge.create(), await edge.create()
    config = (await worker.js.stream_info("AUDIO")).config
    await worker.js.update_stream(config.evolve(max_bytes=20_000))
    async with client(edge, job) as meeting:
        for _ in range(30):
            await meeting.socket.send(FRAME)

        async def create() -> httpx.Response:
            async with httpx.AsyncClient(base_url=edge.url) as http:
                return await http.post("/api/v1/stream/create")

        async def refused() -> bool:
            return (await create()).status_code == 503

        await wait_until(refused, description="new jobs are refused")
        assert meeting.of("status")[-1]["lag"] > 0
        response = await create()
        assert response.json()["detail"] == "audio cannot be stored at present"
        assert response.headers["retry-after"] == "2"
        async with client(edge, other) as late:
            assert await late.closed() == 1013
            assert late.of("error")[0]["retry_after"] == 2
        await worker.js.update_stream(config.evolve(max_bytes=-1))
        await wait_until(
            lambda: meeting.of("ack") and meeting.of("ack")[-1]["samples"] == 14_400, description="all acks"
        )
        assert (await create()).status_code == 201


async def test_a_crash_of_the_bus_in_mid_meeting_loses_nothing(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    noise = random.Random(2)  # noqa: S311
    frames = [noise.randbytes(960) for _ in range(200)]
    async with running_edge(nats_server.url) as edge:
        job = await edge.create()
        async with client(edge, job) as meeting:
            for frame in frames[:100]:
                await meeting.socket.send(frame)
            await meeting.until("ack")
            await nats_server.kill()
            for frame in frames[100:]:
                await meeting.socket.send(frame)
            await nats_server.start()
            await meeting.command("stop")
            end = await closed(edge.bus, job)
            assert end.samples == 200 * 480
            assert await assembled(edge.bus, job) == (b"".join(frames), True)


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


async def test_a_stopping_edge_leaves_its_jobs_open_for_another(edge: Edge, nats_url: str, worker: Bus) -> None:
    job = await edge.create()
    async with running_edge(nats_url) as stopping, stopping.socket(job) as connection:
        meeting = Client(connection)
        for _ in range(10):
            await meeting.socket.send(FRAME)
        await meeting.until("ack")
        stopping.bus.stopping.set()
        assert await meeting.closed() == 1012
    assert await worker.last_raw(Closed.pattern(job)) is None
    async with client(edge, job) as back:
        assert (await back.until("connection_success"))["next_sample"] == 4_800
        await back.command("stop")
        assert (await closed(worker, job)).samples == 4_800


async def test_a_client_that_does_not_read_holds_up_only_itself(edge: Edge, worker: Bus) -> None:
    deaf, hearing = await edge.create(), await edge.create()
    async with edge.socket(deaf) as quiet, client(edge, hearing) as meeting:
        quiet.transport.pause_reading()
        quiet.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for index in range(200):
            await worker.create(final(deaf, index, "x" * 20_000))
        await meeting.socket.send(FRAME)
        await worker.create(final(hearing, 0, "Hello."))
        assert (await meeting.until("transcript_segment"))["text"] == "Hello."
        quiet.transport.abort()
    assert (await closed(worker, deaf)).reason == "disconnect"


async def test_a_connection_whose_client_has_left_takes_nothing_from_a_live_one(
    edge: Edge, nats_url: str, redis_server: Server
) -> None:
    """A client gave a connection up while the edge was held up, and has another one by the time it goes on."""
    job = await edge.create()
    async with running_edge(nats_url) as other, client(other, job) as live:
        await live.until("connection_success")
        assert redis_server.child
        os.kill(redis_server.child.pid, signal.SIGSTOP)  # the edge waits for the store
        try:
            left = await edge.socket(job).__aenter__()
            left.transport.abort()
            await live.socket.send(FRAME)
            await live.until("ack")
        finally:
            os.kill(redis_server.child.pid, signal.SIGCONT)
        await edge.create()  # the store answers again, and what had waited for it has gone on
        for _ in range(30):
            await live.socket.send(FRAME)
        await wait_until(lambda: live.of("ack")[-1]["samples"] == 31 * 480, description="the live connection goes on")
        assert not live.of("error")
