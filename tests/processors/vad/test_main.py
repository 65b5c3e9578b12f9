"""The segmenter as a process: workers that stop, die and come back, and jobs that nobody ends."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bus import AudioPublisher, Bus, Fenced, connect
from bus.claim import Claim, end_audio
from bus.feed import Feed
from bus.requests import answering
from compose.servers import Server
from contract import Closed, JobOptions, Message, Opened, Segmented, Utterance, VadOptions
from contract.audio import decode_audio
from processors.vad.__main__ import main
from processors.vad.core import FRAME, SPAN, Parameters, Segmenter
from processors.vad.live import LiveJob
from processors.vad.settings import Settings, webrtc_detector
from tests.support import wait_until


def undisturbed(pcm: bytes, hangover_ms: int = 600) -> list[tuple[int, int]]:
    """The segments of an undisturbed segmenter."""
    segmenter = Segmenter(lambda: webrtc_detector(2), Parameters(hangover_ms=hangover_ms))
    return [(segment.start, segment.end) for segment in [*segmenter.feed(pcm), *segmenter.finish()]]


def frames(pcm: bytes, milliseconds: int = 30) -> list[bytes]:
    size = 32 * milliseconds
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


async def send(bus: Bus, job: str, chunks: Sequence[bytes], *, finish: bool = True, singly: bool = False) -> None:
    """Store audio; singly: each chunk in a message of its own, as in real time."""
    async with AudioPublisher(bus) as publisher:
        track = publisher.track(job)
        for chunk in chunks:
            await track.send(chunk)
            if singly:
                await track.drained()
        if finish:
            await bus.create(Closed(job=job, samples=await track.finish(), reason="stop"))
        await wait_until(lambda: track.stored == track.sent, description="all audio is stored")


async def segment(bus: Bus, settings: Settings, opened: Opened, epoch: int) -> list[Message]:
    async with Feed(bus) as feed:
        return await LiveJob(bus, feed, settings, opened, epoch).run()


async def utterances(bus: Bus, job: str) -> list[Utterance]:
    stored = await bus.history("SPEECH", Utterance.pattern(job))
    return [Utterance.decode(raw.data) for raw in stored if b"garbage" not in raw.data]


async def finished(bus: Bus, job: str) -> bool:
    return await bus.last_raw(f"events.{job}.segmented") is not None


async def assert_undisturbed(bus: Bus, job: str, pcm: bytes) -> None:
    *found, last = await utterances(bus, job)
    assert [(one.start, one.end) for one in found] == undisturbed(pcm)
    assert [one.index for one in found] == list(range(len(found)))
    assert all(one.pcm == pcm[2 * one.start : 2 * one.end] for one in found)
    assert (last.last, last.index, last.end) == (True, len(found), len(pcm) // 2)


@asynccontextmanager
async def worker(url: str, ack_wait: float = 5.0) -> AsyncIterator[Bus]:
    async with connect(url) as bus:
        running = asyncio.create_task(main(bus, Settings(ack_wait=ack_wait)))
        yield bus
        bus.stopping.set()
        await running


@pytest.mark.parametrize("milliseconds", [10, 20, 30, 100])
async def test_segments_do_not_depend_on_the_size_of_messages(
    bus: Bus, nats_url: str, meeting: bytes, milliseconds: int
) -> None:
    async with worker(nats_url):
        await bus.create(Opened(job="a"))
        await send(bus, "a", frames(meeting, milliseconds))
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
    await assert_undisturbed(bus, "a", meeting)
    segmented = await bus.last(Segmented, "events.a.segmented")
    assert segmented is not None
    assert (segmented.value.segments, segmented.value.samples) == (len(undisturbed(meeting)), len(meeting) // 2)


async def test_options_of_the_job_prevail(bus: Bus, nats_url: str, meeting: bytes) -> None:
    async with worker(nats_url):
        options = JobOptions(language="en", prompt="names", vad=VadOptions(hangover_ms=300))
        await bus.create(Opened(job="a", options=options))
        await send(bus, "a", frames(meeting))
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
    *found, _ = await utterances(bus, "a")
    assert [(one.start, one.end) for one in found] == undisturbed(meeting, hangover_ms=300)
    assert all((one.options.language, one.options.prompt) == ("en", "names") for one in found)


async def test_an_empty_job_has_no_segments(bus: Bus, nats_url: str) -> None:
    async with worker(nats_url):
        await bus.create(Opened(job="a"))
        await send(bus, "a", [])
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
    assert [(one.index, one.last) for one in await utterances(bus, "a")] == [(0, True)]


async def test_a_stopping_worker_hands_over_at_once_and_nothing_changes(
    bus: Bus, nats_url: str, meeting: bytes
) -> None:
    chunks = frames(meeting)
    await bus.create(Opened(job="a"))
    # With an `ack_wait` this long only a worker that returns its lease can move it in time.
    for part in (chunks[:300], chunks[300:420], chunks[420:700]):
        async with worker(nats_url, ack_wait=600):
            before = sum(map(len, chunks[: chunks.index(part[0])])) // 2
            await publish_from(bus, "a", before, part)
            sent = before + sum(map(len, part)) // 2
            expected = len([end for _, end in undisturbed(meeting) if end + 4_800 < sent])
            await wait_until(lambda expected=expected: count(bus, "a", expected), description=f"{expected} utterances")
    async with worker(nats_url, ack_wait=600):
        await publish_from(bus, "a", 700 * 480, chunks[700:], finish=True)
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
    await assert_undisturbed(bus, "a", meeting)
    assert len({one.epoch for one in await utterances(bus, "a")}) > 2


async def publish_from(bus: Bus, job: str, start: int, chunks: Sequence[bytes], finish: bool = False) -> None:
    async with AudioPublisher(bus) as publisher:
        track = publisher.track(job, Claim(start))
        for chunk in chunks:
            await track.send(chunk)
        if finish:
            await bus.create(Closed(job=job, samples=await track.finish(), reason="stop"))
        await wait_until(lambda: track.stored == track.sent, description="the audio is stored")


async def count(bus: Bus, job: str, least: int) -> bool:
    return len(await utterances(bus, job)) >= least


async def spawn(url: str) -> Process:
    env = {**os.environ, "NATS_URL": url, "VAD_ACK_WAIT": "1"}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "processors.vad", env=env)


async def test_a_killed_worker_is_replaced_and_nothing_changes(bus: Bus, nats_url: str, meeting: bytes) -> None:
    chunks = frames(meeting)
    await bus.create(Opened(job="a"))
    process = await spawn(nats_url)
    await publish_from(bus, "a", 0, chunks[:500])
    await wait_until(lambda: count(bus, "a", 3), description="some utterances")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    process = await spawn(nats_url)
    await publish_from(bus, "a", 500 * 480, chunks[500:], finish=True)
    await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
    await assert_undisturbed(bus, "a", meeting)
    process.terminate()
    assert await process.wait() == 0


async def test_two_workers_cannot_both_write(bus: Bus, nats_url: str, meeting: bytes) -> None:
    """A worker that lost its lease without noticing finds out at its next utterance."""
    opened = Opened(job="a")
    chunks = frames(meeting)
    async with connect(nats_url) as other:
        first = asyncio.create_task(segment(bus, Settings(), opened, 1))
        await publish_from(bus, "a", 0, chunks[:300])
        await wait_until(lambda: count(bus, "a", 2), description="utterances of the first worker")
        second = asyncio.create_task(segment(other, Settings(), opened, 2))
        await publish_from(bus, "a", 300 * 480, chunks[300:], finish=True)
        results = await asyncio.gather(first, second, return_exceptions=True)
    assert sum(isinstance(result, Fenced) for result in results) == 1
    await assert_undisturbed(bus, "a", meeting)


async def test_a_job_that_is_segmented_already_is_only_reported(bus: Bus, meeting: bytes) -> None:
    await send(bus, "a", frames(meeting)[:200])
    first = await segment(bus, Settings(), Opened(job="a"), 1)
    before = await utterances(bus, "a")
    assert await segment(bus, Settings(), Opened(job="a"), 2) == first
    assert await utterances(bus, "a") == before


async def test_garbage_among_the_audio_is_dead_lettered(bus: Bus, meeting: bytes) -> None:
    chunks = frames(meeting)
    await publish_from(bus, "a", 0, chunks[:300])
    garbage = await bus.connection.js.publish("audio.a", b"garbage")
    await publish_from(bus, "a", 300 * 480, chunks[300:], finish=True)
    await segment(bus, Settings(), Opened(job="a"), 1)
    await assert_undisturbed(bus, "a", meeting)
    assert await bus.last_raw(f"events.a.dead.AUDIO.{garbage.seq}")


async def test_garbage_among_the_speech_does_not_stop_a_worker(bus: Bus, meeting: bytes) -> None:
    chunks = frames(meeting)
    opened = Opened(job="a")
    running = asyncio.create_task(segment(bus, Settings(), opened, 1))
    await publish_from(bus, "a", 0, chunks[:500])
    await wait_until(lambda: count(bus, "a", 2), description="some utterances")
    await bus.connection.js.publish("speech.a.1.live", b"garbage")
    running.cancel()
    running = asyncio.create_task(segment(bus, Settings(), opened, 2))  # its checkpoint lies behind the garbage
    await publish_from(bus, "a", 500 * 480, chunks[500:700])
    await wait_until(lambda: count(bus, "a", 5), description="more utterances")
    await bus.connection.js.publish("speech.a.1.live", b"more garbage")
    await publish_from(bus, "a", 700 * 480, chunks[700:], finish=True)
    await running
    await assert_undisturbed(bus, "a", meeting)


async def test_audio_that_has_left_the_stream_is_skipped(bus: Bus, meeting: bytes) -> None:
    chunks = frames(meeting)
    await send(bus, "a", chunks)
    stored = await bus.history("AUDIO", "audio.a")
    kept = next(raw.seq for raw in stored if decode_audio(raw.data).start >= 48_000)
    await bus.connection.js.purge_stream("AUDIO", seq=kept)  # the first three seconds
    await segment(bus, Settings(), Opened(job="a"), 1)
    *found, last = await utterances(bus, "a")
    assert found[0].start >= 48_000
    assert all(one.pcm == meeting[2 * one.start : 2 * one.end] for one in found)
    cuts, expected = (
        [(one.start, one.end) for one in found][1:],
        [cut for cut in undisturbed(meeting) if cut[0] > found[0].end],
    )
    assert len(cuts) == len(expected)
    # The detector of the span with the gap was not warmed up with the audio that is missing.
    assert [cut for cut in cuts if cut[0] >= SPAN * FRAME] == [cut for cut in expected if cut[0] >= SPAN * FRAME]
    assert last.end == len(meeting) // 2


async def test_segmenting_goes_on_after_a_crash_of_the_server(nats_server: Server, meeting: bytes) -> None:
    chunks = frames(meeting)
    async with connect(nats_server.url) as bus, worker(nats_server.url):
        await bus.create(Opened(job="a"))
        await publish_from(bus, "a", 0, chunks[:400])
        await wait_until(lambda: count(bus, "a", 2), description="some utterances")
        await nats_server.kill()
        await nats_server.start()
        await publish_from(bus, "a", 400 * 480, chunks[400:], finish=True)
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
        await assert_undisturbed(bus, "a", meeting)


async def test_a_job_whose_edge_died_is_closed(bus: Bus, nats_url: str, meeting: bytes) -> None:
    async with connect(nats_url) as other:
        running = asyncio.create_task(main(other, Settings(abandoned=1)))
        await bus.create(Opened(job="a"))
        await publish_from(bus, "a", 0, frames(meeting))
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
        other.stopping.set()
        await running
    await assert_undisturbed(bus, "a", meeting)
    closed = await bus.last(Closed, Closed.pattern("a"))
    assert closed is not None
    assert (closed.value.samples, closed.value.reason) == (len(meeting) // 2, "abandoned")


async def test_a_job_whose_audio_has_become_too_old_is_closed(bus: Bus, nats_url: str, meeting: bytes) -> None:
    """As after a suspension or a jump of the clock of more than BUS_AUDIO_HOURS: the stream drops it by its age."""
    async with connect(nats_url) as other:
        running = asyncio.create_task(main(other, Settings(abandoned=2)))
        await bus.create(Opened(job="a"))
        await publish_from(bus, "a", 0, frames(meeting)[:400])
        await wait_until(lambda: count(bus, "a", 2), description="some utterances")
        await bus.purge("AUDIO", "audio.a")
        await wait_until(lambda: finished(bus, "a"), description="the job is segmented")
        other.stopping.set()
        await running
    closed = await bus.last(Closed, Closed.pattern("a"))
    assert closed is not None
    assert closed.value.reason == "abandoned"
    assert 0 < closed.value.samples <= 400 * 480


async def test_a_silent_job_that_an_edge_holds_is_left_open(bus: Bus, nats_url: str, meeting: bytes) -> None:
    asked: list[str] = []

    def holds(job: str) -> bytes | None:
        asked.append(job)
        return b"" if len(asked) < 3 else None

    async with connect(nats_url) as other, answering(bus, "live.*.holder", holds):
        running = asyncio.create_task(main(other, Settings(abandoned=0.1)))
        await bus.create(Opened(job="a"))
        await publish_from(bus, "a", 0, frames(meeting)[:300])
        await wait_until(lambda: len(asked) == 2, description="the edge is asked twice")
        assert not await bus.last_raw(Closed.pattern("a"))
        await wait_until(lambda: bus.last_raw(Closed.pattern("a")), description="the edge no longer holds it")
        other.stopping.set()
        await running


async def test_a_job_that_ended_without_being_closed_is_closed(bus: Bus, meeting: bytes) -> None:
    """The edge died between the end of the audio and the event that says so."""
    await send(bus, "a", frames(meeting)[:200], finish=False)
    stored = await bus.history("AUDIO", "audio.a")
    await end_audio(bus, "a", 200 * 480, stored[-1].seq)
    await segment(bus, Settings(), Opened(job="a"), 1)
    closed = await bus.last(Closed, Closed.pattern("a"))
    assert closed is not None
    assert (closed.value.samples, closed.value.reason) == (200 * 480, "abandoned")


async def test_an_edge_that_reconnects_later_than_the_segmenter_keeps_its_job(
    nats_server: Server, meeting: bytes
) -> None:
    asked: list[str] = []

    def holds(job: str) -> bytes:
        asked.append(job)
        return b""

    async with connect(nats_server.url) as other, connect(nats_server.url) as edge:
        running = asyncio.create_task(main(other, Settings(abandoned=2)))
        await edge.create(Opened(job="a"))
        await publish_from(edge, "a", 0, frames(meeting)[:300])
        await wait_until(lambda: count(edge, "a", 2), description="some utterances")
        await nats_server.kill()
        await asyncio.sleep(2)  # longer than `abandoned`: at the reconnect the job has been silent for too long
        await nats_server.start()
        await other.connection.flushed()
        async with answering(edge, "live.*.holder", holds):
            await wait_until(lambda: len(asked) >= 2, description="the edge is asked")
            assert not await edge.last_raw(Closed.pattern("a"))
        other.stopping.set()
        await running


ALLOCATIONS = """
import resource
from processors.vad.__main__ import keep_freed_memory
if {keep}: keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks = [bytes([at]) * 200_000 for at in range(20)]
del blocks
before = faults()
for turn in range(50):
    blocks = [bytes([at]) * 200_000 for at in range(20)]
    del blocks
print(faults() - before)
"""


def faults(keep: bool) -> int:
    """Page faults of a program that allocates and frees the same memory again and again."""
    ran = subprocess.run(
        [sys.executable, "-c", ALLOCATIONS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_freed_memory_stays_with_the_process() -> None:
    assert faults(keep=True) < faults(keep=False) / 3  # how many those are depends on the kernel's page sizes
