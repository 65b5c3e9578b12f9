"""What a client is told while a segment is open, and how it ends one: with a real segmenter behind the edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from audio import decode
from bus import Bus, connect
from bus.feed import Feed
from bus.requests import listening
from contract import JobOptions, Opened, Partial, Snapshot, Speaking, Transcript, Utterance
from contract.audio import decode_audio
from processors.vad.__main__ import main
from processors.vad.live import LiveJob
from processors.vad.settings import Settings
from tests.edge.conftest import Client, Edge, client
from tests.processors.vad.test_live import unchained
from tests.support import wait_until

SAMPLES = Path(__file__).parents[3] / "samples"

SECOND = 32_000


@pytest.fixture(scope="module")
def voice() -> bytes:
    """Speech without a pause of a length that ends a segment."""
    return b"".join(decode(SAMPLES / "monologue.flac"))


@pytest.fixture
async def segmenter(nats_url: str) -> AsyncIterator[Bus]:
    """A running segmenter's own connection."""
    async with connect(nats_url) as bus:
        running = asyncio.create_task(main(bus, Settings()))
        yield bus
        bus.stopping.set()
        await running


async def say(meeting: Client, pcm: bytes) -> None:
    for at in range(0, len(pcm), 960):
        await meeting.socket.send(pcm[at : at + 960])


async def utterances(bus: Bus, job: str, least: int = 1) -> list[Utterance]:
    found: list[Utterance] = []

    async def enough() -> bool:
        found[:] = [Utterance.decode(raw.data) for raw in await bus.history("SPEECH", Utterance.pattern(job))]
        return len(found) >= least

    await wait_until(enough, description=f"{least} utterances")
    return found


async def test_finalize_ends_the_open_segment_at_once_and_the_meeting_goes_on(
    edge: Edge, worker: Bus, segmenter: Bus, voice: bytes
) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await say(meeting, voice[: 4 * SECOND])
        await meeting.command("finalize")
        (first,) = await utterances(worker, job)
        assert (first.end, first.continues) == (4 * SECOND // 2, False)
        await meeting.command("finalize")
        await meeting.command("finalize")
        await say(meeting, voice[4 * SECOND : 7 * SECOND])
        await meeting.command("finalize")
        second = (await utterances(worker, job, 2))[1]
        assert second.end == 7 * SECOND // 2
        await say(meeting, voice[7 * SECOND : 9 * SECOND])
        await meeting.command("stop")
        found = await utterances(worker, job, 4)
        assert [one.index for one in found] == [0, 1, 2, 3]
        assert (found[3].last, found[3].end) == (True, 9 * SECOND // 2)
        assert b"".join(one.pcm for one in found) == voice[2 * first.start : 9 * SECOND]
        assert not meeting.of("error")
    frames = [decode_audio(raw.data) for raw in await worker.history("AUDIO", f"audio.{job}")]
    assert [frame.start for frame in frames if frame.cut] == [4 * SECOND // 2, 7 * SECOND // 2]
    await worker.connection.js.purge_stream("SPEECH", subject=Utterance.pattern(job))
    async with Feed(worker) as feed:
        await LiveJob(worker, feed, Settings(), Opened(job=job), found[0].epoch).run()
    assert unchained(await utterances(worker, job, 4)) == unchained(found)


async def test_finalize_keeps_what_the_resampler_holds(edge: Edge, worker: Bus, voice: bytes) -> None:
    """However often it is said: not a sample is lost at the seam, and none is added."""
    sound = []
    for finalize in (False, True):
        job = await edge.create(sample_rate=8_000, encoding="mulaw")
        async with client(edge, job) as meeting:
            for at in range(0, 16_000, 160):
                await meeting.socket.send(voice[at : at + 160])
                if finalize:
                    await meeting.command("finalize")
            await meeting.command("stop")
            await wait_until(lambda job=job: worker.last_raw(f"events.{job}.closed"), description="the job is closed")
        frames = [decode_audio(raw.data) for raw in await worker.history("AUDIO", f"audio.{job}")]
        assert any(frame.cut for frame in frames) == finalize
        sound.append(b"".join(frame.pcm for frame in frames))
    assert sound[0] == sound[1]
    assert len(sound[0]) == 4 * 16_000


async def test_finalize_is_refused_half_a_second_after_another(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        for samples in (8, 4_000, 4_000):
            await meeting.socket.send(bytes(2 * samples))
            await meeting.command("finalize")
        await meeting.until("error")
        await meeting.command("stop")
        await wait_until(lambda: worker.last_raw(f"events.{job}.closed"), description="the job is closed")
        assert [(error["code"], error["message"]) for error in meeting.of("error")] == [
            ("finalize_too_soon", "only 0.25 s of audio since the last finalize: 0.5 s or more are accepted")
        ]
    frames = [decode_audio(raw.data) for raw in await worker.history("AUDIO", f"audio.{job}")]
    assert [frame.start for frame in frames if frame.cut] == [8, 8_008]


async def test_finalize_after_stop_is_refused(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.command("stop")
        await meeting.command("finalize")
        assert await meeting.until("error") == {
            "type": "error",
            "code": "finalize_after_stop",
            "message": "the command finalize after the command stop is not taken",
        }
    frames = [decode_audio(raw.data) for raw in await worker.history("AUDIO", f"audio.{job}")]
    assert not any(frame.cut for frame in frames)


async def test_a_client_sees_its_words_come_and_then_stay(
    edge: Edge, worker: Bus, segmenter: Bus, voice: bytes
) -> None:
    """A speech worker that is made up here answers whenever it is told that there is something to understand."""
    understood: list[Partial] = []
    asked: set[asyncio.Task[None]] = set()

    async def understand(job: str) -> None:
        answer = await worker.connection.nc.request(f"live.{job}.snapshot", b"", timeout=60)
        open_ = Snapshot.decode(answer.data)
        seconds = (open_.end - open_.start) // 16_000
        partial = Partial(job=job, index=open_.index, start=open_.start, end=open_.end, text=f"{seconds} seconds")
        understood.append(partial)
        await worker.publish(partial)

    def on_speaking(speaking: Speaking) -> None:
        if speaking.partials:
            asked.add(asyncio.create_task(understand(speaking.job)))

    async with listening(worker, Speaking, "*", on_speaking):
        job = await edge.create()
        async with client(edge, job) as meeting:
            await say(meeting, voice[: 3 * SECOND])
            started = await meeting.until("speech_started")
            await wait_until(lambda: understood and meeting.of("partial"), description="a partial")
            await meeting.command("finalize")
            (first,) = await utterances(worker, job)
            await wait_until(
                lambda: meeting.of("partial")[-1]["text"] == understood[-1].text, description="the newest partial"
            )
            assert started == {"type": "speech_started", "start": first.start / 16_000}
            assert meeting.of("partial")[-1] == {
                "type": "partial",
                "start": first.start / 16_000,
                "text": understood[-1].text,
                "stable": 0,
            }
            await worker.create(Transcript(job=job, index=0, start=first.start, end=first.end, text="Three seconds."))
            await meeting.until("transcript_segment")
            await worker.publish(Partial(job=job, index=0, start=first.start, end=10**9, text="late"))
            await say(meeting, voice[3 * SECOND : 5 * SECOND])
            await meeting.until("speech_started", 2)
            at = meeting.received.index(meeting.of("speech_started")[1])
            await wait_until(
                lambda: [told for told in meeting.received[at:] if told["type"] == "partial"],
                description="a new partial",
            )
            assert all(
                told["start"] >= first.end / 16_000 for told in meeting.of("partial") if told in meeting.received[at:]
            )
            assert "late" not in [told["text"] for told in meeting.of("partial")]
            await meeting.command("stop")
            await utterances(worker, job, 3)
    await asyncio.gather(*asked, return_exceptions=True)  # some were asked when the segment had just ended


async def test_a_job_without_partials_only_gets_speech_started(
    edge: Edge, worker: Bus, segmenter: Bus, voice: bytes
) -> None:
    told: list[Speaking] = []
    async with listening(worker, Speaking, "*", told.append):
        job = await edge.create(partials=False)
        async with client(edge, job) as meeting:
            await say(meeting, voice[: 3 * SECOND])
            await meeting.command("stop")
            await utterances(worker, job, 2)
            await meeting.until("speech_started")
    assert [(one.first, one.partials) for one in told] == [(True, False)]


async def test_a_slow_client_gets_the_newest_partial_and_every_final(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with edge.socket(job) as quiet:
        quiet.transport.pause_reading()
        for index in range(100):
            await worker.create(Transcript(job=job, index=index, start=0, end=1, text=f"{index}" + "x" * 100_000))
        for end in range(500):
            await worker.publish(Partial(job=job, index=100, start=0, end=end, text=f"{end}"))
        await worker.connection.flushed()
        await edge.bus.connection.flushed()
        quiet.transport.resume_reading()
        told: list[dict[str, Any]] = []

        def of(kind: str) -> list[dict[str, Any]]:
            return [message for message in told if message["type"] == kind]

        async with asyncio.timeout(60):
            while len(of("transcript_segment")) < 100 or "499" not in [message["text"] for message in of("partial")]:
                told.append(json.loads(await quiet.recv()))
    assert [message["index"] for message in of("transcript_segment")] == list(range(100))
    assert len(of("partial")) < 50


async def test_vad_options_that_contradict_each_other_are_refused_when_the_job_is_created(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as http:
        asked = {"vad": {"endpointing": "adaptive", "min_hangover_ms": 700, "hangover_ms": 600}}
        response = await http.post("/api/v1/stream/create", json=asked)
    assert response.status_code == 422
    says = "min_hangover_ms is 700: at most hangover_ms is accepted, which is 600"
    assert says in response.json()["detail"]
    assert response.json()["detail"].startswith("vad: ")


async def test_a_job_that_only_another_program_would_open_does_not_stop_the_segmenter(
    edge: Edge, worker: Bus, segmenter: Bus, voice: bytes
) -> None:
    bad = Opened(job="bad", options=JobOptions()).model_dump()
    bad["options"]["vad"] |= {"min_hangover_ms": 700, "max_hangover_ms": 200}
    await worker.connection.js.publish("events.bad.opened", msgpack.packb(bad))
    await wait_until(lambda: worker.last_raw("events.bad.dead.EVENTS.1"), description="it is put aside")
    job = await edge.create()
    async with client(edge, job) as meeting:
        await say(meeting, voice[: 2 * SECOND])
        await meeting.command("stop")
        assert len(await utterances(worker, job, 2)) == 2
