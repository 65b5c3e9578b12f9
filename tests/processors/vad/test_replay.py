"""Stored audio, segmented again: the same cuts, at a pace, by several workers, beside other generations."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise

import pytest
from nats.js.errors import NotFoundError

from bus import Bus, connect
from bus.erase import erase
from bus.requests import listening, present
from bus.speech import utterance_before
from contract import Closed, JobOptions, Opened, Progress, Replay, Replayed, Speaking, Utterance, VadOptions
from processors.vad.__main__ import main
from processors.vad.replay import ReplayJob
from processors.vad.settings import Settings
from tests.processors.vad.test_live import ADAPTIVE, VOICE_END, call
from tests.processors.vad.test_main import assert_undisturbed, frames, send, undisturbed
from tests.support import wait_until


@pytest.fixture
async def segmenter(nats_url: str) -> AsyncIterator[Bus]:
    """A running segmenter's own connection."""
    async with connect(nats_url) as bus:
        running = asyncio.create_task(main(bus, Settings()))
        yield bus
        bus.stopping.set()
        await running


async def generation(bus: Bus, number: int, job: str = "a") -> list[Utterance]:
    stored = await bus.history("SPEECH", Utterance.pattern(job, generation=str(number)))
    return [Utterance.decode(raw.data) for raw in stored]


def cuts(found: list[Utterance]) -> list[tuple[int, int, int, bool, bytes, bool]]:
    return [(one.index, one.start, one.end, one.continues, one.pcm, one.last) for one in found]


async def replayed(bus: Bus, number: int = 2, job: str = "a") -> Replayed:
    subject = Replayed.pattern(job, generation=str(number))
    await wait_until(lambda: bus.last_raw(subject), description=f"generation {number} is segmented", timeout=60)
    found = await bus.last(Replayed, subject)
    assert found is not None
    return found.value


async def replay(bus: Bus, settings: Settings, asked: Replay, epoch: int = 1) -> Replayed:
    (found,) = await ReplayJob(bus, settings, asked, epoch).run()
    assert isinstance(found, Replayed)
    return found


async def test_a_stored_meeting_is_segmented_as_it_was(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    announced: list[object] = []
    await bus.create(Opened(job="a"))
    await send(bus, "a", frames(meeting))
    await wait_until(lambda: bus.last_raw("events.a.segmented"), description="the job is segmented")
    async with listening(bus, Progress, "a", announced.append), listening(bus, Speaking, "a", announced.append):
        asked = Replay(job="a", generation=2, options=JobOptions(language="ko", model="m", prompt="names"))
        await bus.create(asked)
        found = await replayed(bus)
        await bus.connection.flushed()
    assert cuts(await generation(bus, 2)) == cuts(await generation(bus, 1))
    await assert_undisturbed_generation(bus, 2, meeting)
    assert found == Replayed(job="a", generation=2, segments=len(undisturbed(meeting)), samples=len(meeting) // 2)
    *said, _ = await generation(bus, 2)
    assert {(one.source, one.options.language, one.options.model, one.options.prompt) for one in said} == {
        ("replay", "ko", "m", "names")
    }
    assert announced == []
    assert await bus.last_raw(Closed.pattern("a"))  # by its client
    assert len(await bus.history("EVENTS", "events.a.segmented")) == 1
    assert await bus.last_raw(Opened.pattern("a")) is not None


async def assert_undisturbed_generation(bus: Bus, number: int, pcm: bytes) -> None:
    *found, last = await generation(bus, number)
    assert [(one.start, one.end) for one in found] == undisturbed(pcm)
    assert (last.last, last.end) == (True, len(pcm) // 2)


async def test_an_upload_a_live_job_and_a_replay_have_the_same_windows(
    bus: Bus, segmenter: Bus, meeting: bytes
) -> None:
    asked = {"a": JobOptions(source="upload"), "b": JobOptions(correct=True), "c": JobOptions(correct=False)}
    for job, options in asked.items():
        await bus.create(Opened(job=job, options=options))
        await send(bus, job, frames(meeting))
        await wait_until(lambda job=job: bus.last_raw(f"events.{job}.segmented"), description="the job is segmented")
    await bus.create(Replay(job="c", generation=2))
    await replayed(bus, job="c")
    upload, live, plain = [await generation(bus, 1, job) for job in asked]
    again = await generation(bus, 2, "c")
    windows = [one.window for one in upload]
    assert windows == [one.window for one in live] == [one.window for one in again]
    assert all(one.window is None for one in plain)
    first = {window.first for window in windows if window}
    assert 1 < len(first) < len(windows) - 1  # some utterances share a window, and not all of them one
    for found in (upload, live, plain, again):
        for before, one in pairwise(found):
            assert await utterance_before(bus, one) == before


async def test_other_options_give_other_segments_and_leave_the_first_generation_alone(
    bus: Bus, segmenter: Bus, meeting: bytes
) -> None:
    await bus.create(Opened(job="a"))
    await send(bus, "a", frames(meeting))
    options = JobOptions(vad=VadOptions(hangover_ms=300))
    await bus.create(Replay(job="a", generation=2, options=options))
    await replayed(bus)
    *found, _ = await generation(bus, 2)
    assert [(one.start, one.end) for one in found] == undisturbed(meeting, hangover_ms=300)
    await wait_until(lambda: bus.last_raw("events.a.segmented"), description="the job is segmented")
    await bus.connection.js.purge_stream("SPEECH", subject=Utterance.pattern("a", generation="2"))
    await assert_undisturbed(bus, "a", meeting)


async def test_a_meeting_with_adaptive_endpointing_is_cut_where_it_was(
    bus: Bus, segmenter: Bus, meeting: bytes
) -> None:
    """The hypotheses are lost; the cut requests among the audio are not."""
    async with call(bus, ADAPTIVE) as one:
        for round_ in range(3):
            await one.say(meeting[: 2 * VOICE_END])
            await one.silence(210)
            await one.hypothesize("We begin.", index=round_)
            await one.silence(210)
            await one.utterances(round_ + 1)
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(750)  # 600 ms would end it, but in the middle of a sentence it takes 900
        await one.say(meeting[16_000 : 2 * VOICE_END])
        await one.end()
    first, stored = await generation(bus, 1), await bus.history("AUDIO", "audio.a")
    assert len(await one.cuts()) >= 3
    asked = Replay(job="a", generation=2, options=ADAPTIVE)
    await bus.create(asked)
    await replayed(bus)
    assert cuts(await generation(bus, 2)) == cuts(first)
    assert await bus.history("AUDIO", "audio.a") == stored  # no new cut requests
    # A worker that takes over after any utterance gives the same ones.
    whole = await generation(bus, 2)
    for known in range(len(whole)):
        await bus.connection.js.purge_stream("SPEECH", subject=Utterance.pattern("a", generation="2"))
        last = 0
        for utterance in whole[:known]:
            last = await bus.append(utterance, last)
        await replay(bus, Settings(), asked)
        assert cuts(await generation(bus, 2)) == cuts(first)


async def test_two_generations_at_once(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    await send(bus, "a", frames(meeting))
    for number, hangover in ((2, 600), (3, 300)):
        options = JobOptions(vad=VadOptions(hangover_ms=hangover))
        await bus.create(Replay(job="a", generation=number, speed=20, options=options))
    found = await asyncio.gather(replayed(bus, 2), replayed(bus, 3))
    assert [one.segments for one in found] == [len(undisturbed(meeting)), len(undisturbed(meeting, hangover_ms=300))]
    for number, hangover in ((2, 600), (3, 300)):
        *said, _ = await generation(bus, number)
        assert [(one.start, one.end) for one in said] == undisturbed(meeting, hangover_ms=hangover)


async def spawn(url: str) -> Process:
    env = {**os.environ, "NATS_URL": url, "VAD_ACK_WAIT": "1"}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "processors.vad", env=env)


async def test_a_worker_that_is_killed_in_the_middle_is_replaced_and_nothing_changes(
    bus: Bus, nats_url: str, meeting: bytes
) -> None:
    await send(bus, "a", frames(meeting))
    process = await spawn(nats_url)
    await bus.create(Replay(job="a", generation=2, speed=6))

    async def begun() -> bool:
        return len(await generation(bus, 2)) >= 3

    await wait_until(begun, description="some utterances")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    before = await generation(bus, 2)
    assert not any(one.last for one in before)
    process = await spawn(nats_url)
    await replayed(bus)
    process.terminate()
    assert await process.wait() == 0
    await assert_undisturbed_generation(bus, 2, meeting)
    found = await generation(bus, 2)
    assert found[: len(before)] == before
    assert len({one.epoch for one in found}) == 2


async def test_a_speed_is_kept_and_none_is_as_fast_as_possible(
    bus: Bus, meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = meeting[: 2 * 160_000]
    await send(bus, "a", frames(pcm), singly=True)
    waited: list[float] = []
    now = 0.0
    sleep = asyncio.sleep

    async def skip(seconds: float) -> None:
        """Let the time pass at once."""
        nonlocal now
        waited.append(seconds)
        now += seconds
        await sleep(0)

    class Clock:
        def time(self) -> float:
            return now

    fast = ReplayJob(bus, Settings(), Replay(job="a", generation=2), 1)
    slow = ReplayJob(bus, Settings(), Replay(job="a", generation=3, speed=2), 1)
    monkeypatch.setattr("processors.vad.replay.asyncio", _Asyncio(skip, Clock))
    await fast.run()
    assert set(waited) == {0}
    waited.clear()
    await slow.run()
    assert sum(waited) == pytest.approx(5.0, abs=0.05)  # ten seconds of sound, but for its first frame
    assert cuts(await generation(bus, 2)) == cuts(await generation(bus, 3))


async def test_erasing_a_job_frees_the_places_of_its_replays(bus: Bus, nats_url: str, meeting: bytes) -> None:
    for job in ("a", "b"):
        await send(bus, job, frames(meeting), singly=True)
    async with connect(nats_url) as own:
        running = asyncio.create_task(main(own, Settings(replays=1)))
        await wait_until(lambda: present(bus, "vad"), description="the worker is ready")
        # A request that an earlier version took. Even at the lowest speed it would take minutes.
        await bus.create(Replay(job="a", generation=2, speed=1e-300))

        async def busy() -> bool:
            with suppress(NotFoundError):
                info = await bus.connection.js.consumer_info("EVENTS", "vad-replay")
                return bool(info.num_ack_pending == 1)
            return False

        await wait_until(busy, description="the replay has the only place")
        await bus.create(Replay(job="b", generation=2))
        await erase(bus, "a", mark=True)
        found = await replayed(bus, job="b")
        assert found.segments == len(undisturbed(meeting))
        own.stopping.set()
        await running


class _Asyncio:
    def __init__(self, sleep: object, loop: object) -> None:
        self.sleep = sleep
        self.get_running_loop = loop


async def test_a_replay_without_a_stored_end_ends_with_the_last_audio(bus: Bus, meeting: bytes) -> None:
    await send(bus, "a", frames(meeting)[:600], finish=False)
    found = await replay(bus, Settings(), Replay(job="a", generation=2))
    assert found.samples == 600 * 480
    *said, _ = await generation(bus, 2)
    assert [(one.start, one.end) for one in said] == undisturbed(meeting[: 600 * 960])


async def test_missing_audio_is_skipped_also_close_to_the_end(bus: Bus, meeting: bytes) -> None:
    await send(bus, "a", frames(meeting)[:600], finish=False, singly=True)
    for seq in range(590, 593):
        await bus.connection.js.delete_msg("AUDIO", seq)
    found = await replay(bus, Settings(), Replay(job="a", generation=2))
    assert found.samples == 600 * 480
    assert all(one.pcm == meeting[2 * one.start : 2 * one.end] for one in await generation(bus, 2))


async def test_a_replay_that_is_done_is_only_reported(bus: Bus, meeting: bytes) -> None:
    await send(bus, "a", frames(meeting)[:300])
    asked = Replay(job="a", generation=2)
    first = await replay(bus, Settings(), asked)
    before = await generation(bus, 2)
    await bus.connection.js.purge_stream("AUDIO", subject="audio.a")
    assert await replay(bus, Settings(), asked, 2) == first
    assert await generation(bus, 2) == before


async def test_a_replay_of_a_job_that_is_erased_ends(bus: Bus, meeting: bytes) -> None:
    await send(bus, "a", frames(meeting))
    running = asyncio.create_task(replay(bus, Settings(), Replay(job="a", generation=2, speed=10)))

    async def begun() -> bool:
        return bool(await generation(bus, 2))

    await wait_until(begun, description="an utterance")
    for stream, subject in (("AUDIO", "audio.a"), ("SPEECH", "speech.a.>"), ("EVENTS", "events.a.>")):
        await bus.connection.js.purge_stream(stream, subject=subject)
    found = await running
    assert found.samples <= len(meeting) // 2
