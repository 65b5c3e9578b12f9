from __future__ import annotations

import asyncio

import pytest

from bus import Bus
from bus.claim import AudioEnded, claim_audio
from bus.erase import StillLive, erase, has_messages, settle
from compose.servers import Server
from contract import Closed, Completed, Opened, Redriven, Replay, Segmented, Summary, Transcript, Utterance, dead_letter
from contract.audio import AudioFrame, encode_audio


async def fill(bus: Bus, job: str) -> None:
    """A finished job."""
    await bus.create(Opened(job=job))
    await bus.store(f"audio.{job}", encode_audio(AudioFrame(0, bytes(960))))
    await bus.store(f"audio.{job}", encode_audio(AudioFrame(480, b"", last=True)))
    await bus.create(Closed(job=job, samples=480, reason="stop"))
    await bus.publish(Utterance(job=job, index=0, start=0, end=480, pcm=bytes(960)))
    await bus.publish(Utterance(job=job, index=0, start=0, end=480, pcm=bytes(960), generation=2, source="replay"))
    await bus.create(Transcript(job=job, index=0, start=0, end=480, text="secret"))
    await bus.create(Summary(job=job, title="secret", summary="secret", engine="none"))
    await bus.create(Completed(job=job, segments=1, samples=480))


async def left(bus: Bus, job: str) -> list[str]:
    subjects = {"AUDIO": f"audio.{job}", "SPEECH": f"speech.{job}.>", "EVENTS": f"events.{job}.>"}
    return [raw.subject for stream, subject in subjects.items() for raw in await bus.history(stream, subject)]


async def test_erasing_removes_all_of_a_job_and_nothing_of_others(bus: Bus) -> None:
    for job in ("a", "b", "aa"):
        await fill(bus, job)
    before = [await left(bus, job) for job in ("b", "aa")]
    assert await has_messages(bus, "a")
    assert await erase(bus, "a", mark=False)
    assert await left(bus, "a") == []
    assert not await has_messages(bus, "a")
    assert [await left(bus, job) for job in ("b", "aa")] == before
    assert not await erase(bus, "a", mark=False)


async def test_marks_are_distinguished_from_late_messages(bus: Bus) -> None:
    await fill(bus, "a")
    assert await erase(bus, "a", mark=True)
    assert sorted(await left(bus, "a")) == ["audio.a", "events.a.completed", "events.a.segmented"]
    assert not await erase(bus, "a", mark=True)
    await bus.create(Transcript(job="a", index=3, start=0, end=1, text="late"))
    assert await erase(bus, "a", mark=True)
    assert not await erase(bus, "a", mark=False)
    assert await left(bus, "a") == []


async def test_marks_replace_what_a_late_worker_wrote(bus: Bus) -> None:
    await erase(bus, "a", mark=True)
    assert not await bus.create(Segmented(job="a", segments=7, samples=480))
    segmented = await bus.last(Segmented, "events.a.segmented")
    assert segmented is not None
    assert segmented.value.segments == 0


async def test_the_audio_of_an_erased_job_cannot_be_claimed(bus: Bus) -> None:
    await erase(bus, "a", mark=True)
    with pytest.raises(AudioEnded):
        await claim_audio(bus, "a")


async def test_a_finished_job_is_settled_unless_a_retry_is_possible(bus: Bus) -> None:
    await fill(bus, "a")
    assert await settle(bus, "a", finished=False)
    await bus.publish(dead_letter("SPEECH", 1, "speech.a.1.live", "no luck", "stt"))
    assert not await settle(bus, "a", finished=True)
    await fill(bus, "b")
    await bus.publish(Redriven(job="b", worker="stt", stream="SPEECH", seq=1))
    assert not await settle(bus, "b", finished=False)


async def test_a_replayed_job_is_not_settled(bus: Bus) -> None:
    await fill(bus, "a")
    await bus.publish(Replay(job="a", generation=2))
    assert not await settle(bus, "a", finished=True)
    assert await erase(bus, "a", mark=True)
    assert sorted(await left(bus, "a")) == ["audio.a", "events.a.completed", "events.a.segmented"]


async def test_a_finished_job_whose_events_have_aged_out_is_settled(bus: Bus) -> None:
    assert await settle(bus, "a", finished=True)
    assert await left(bus, "a") == []


async def test_a_closed_job_is_not_live_and_not_settled(bus: Bus) -> None:
    await bus.create(Opened(job="a"))
    await bus.create(Closed(job="a", samples=0, reason="stop"))
    assert not await settle(bus, "a", finished=False)


async def test_an_open_job_is_live(bus: Bus) -> None:
    await bus.create(Opened(job="a"))
    with pytest.raises(StillLive):
        await settle(bus, "a", finished=False)


async def test_a_job_that_nobody_opened_cannot_be_opened_any_more(bus: Bus) -> None:
    assert not await settle(bus, "a", finished=False)
    with pytest.raises(AudioEnded):
        await claim_audio(bus, "a")
    assert not await settle(bus, "a", finished=False)  # again


async def test_opening_and_erasing_at_once_never_both_succeed(bus: Bus) -> None:
    for number in range(20):
        job = f"j{number}"
        claimed, settled = await asyncio.gather(
            claim_audio(bus, job), settle(bus, job, finished=False), return_exceptions=True
        )
        assert isinstance(claimed, AudioEnded) != isinstance(settled, StillLive)


async def test_erasing_survives_a_restart_of_the_server(bus: Bus, nats_server: Server) -> None:
    await fill(bus, "a")
    await nats_server.kill()
    erasing = asyncio.create_task(erase(bus, "a", mark=True))
    await nats_server.start()
    async with asyncio.timeout(60):
        await erasing
    assert len(await left(bus, "a")) == 3
