"""Announcements of open segments, adaptive endpointing, and background tasks that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import pytest

from bus import AudioPublisher, AudioTrack, Bus, connect
from bus.claim import cut_audio
from bus.feed import Feed
from bus.requests import ask, listening
from bus.speech import utterance_before
from contract import Closed, JobOptions, Opened, Partial, Segmented, Snapshot, Speaking, Utterance, VadOptions
from contract.audio import AudioFrame, decode_audio
from processors.vad.__main__ import main
from processors.vad.live import LiveJob
from processors.vad.settings import Settings
from tests.support import wait_until

VOICE_START, VOICE_END = 8_000, 31_680
"""Of the first sentence of the meeting."""

MS = 16


@pytest.fixture
async def segmenter(nats_url: str) -> AsyncIterator[Bus]:
    """A running segmenter's own connection."""
    async with connect(nats_url) as bus:
        running = asyncio.create_task(main(bus, Settings()))
        yield bus
        bus.stopping.set()
        await running


class Call:
    """A job whose audio comes frame by frame, and its announcements."""

    def __init__(self, bus: Bus, track: AudioTrack) -> None:
        self.bus = bus
        self.track = track
        self.speaking: list[Speaking] = []

    async def say(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), 960):
            await self.track.send(pcm[at : at + 960])
            await self.track.drained()  # as in real time, each is a message of its own

    async def silence(self, ms: int) -> None:
        await self.say(bytes(32 * ms))

    async def snapshot(self, index: int = 0) -> Snapshot:
        """The open segment, once it includes all audio that was sent."""
        found: list[Snapshot] = []

        async def is_complete() -> bool:
            with suppress(TimeoutError):
                answer = await self.bus.connection.nc.request("live.a.snapshot", b"", timeout=0.2)
                found[:] = [Snapshot.decode(answer.data)]
            return bool(found) and (found[0].index, found[0].end) == (index, self.track.sent)

        await wait_until(is_complete, description=f"a snapshot of {index} up to {self.track.sent}")
        return found[0]

    async def hypothesize(self, text: str, *, end: int | None = None, index: int = 0) -> None:
        """Publish a hypothesis, as a speech worker does, of all audio that was sent or up to `end`."""
        snapshot = await self.snapshot(index)
        end = snapshot.end if end is None else end
        await self.bus.publish(Partial(job="a", index=index, start=snapshot.start, end=end, text=text))
        await self.snapshot(index)  # answered after the hypothesis was taken

    async def cuts(self) -> list[AudioFrame]:
        frames = [decode_audio(raw.data) for raw in await self.bus.history("AUDIO", "audio.a")]
        return [frame for frame in frames if frame.cut]

    async def utterances(self, least: int = 1) -> list[Utterance]:
        found: list[Utterance] = []

        async def enough() -> bool:
            stored = await self.bus.history("SPEECH", Utterance.pattern("a"))
            found[:] = [Utterance.decode(raw.data) for raw in stored]
            return len(found) >= least

        await wait_until(enough, description=f"{least} utterances")
        return found

    async def end(self) -> list[Utterance]:
        """End the audio; returns all utterances."""
        await self.bus.create(Closed(job="a", samples=await self.track.finish(), reason="stop"))
        await wait_until(lambda: self.bus.last_raw(Segmented.pattern("a")), description="the job is segmented")
        return await self.utterances()


@asynccontextmanager
async def call(bus: Bus, options: JobOptions) -> AsyncIterator[Call]:
    async with AudioPublisher(bus) as publisher:
        one = Call(bus, publisher.track("a"))
        async with listening(bus, Speaking, "a", one.speaking.append):
            await bus.create(Opened(job="a", options=options))
            yield one


LIVE = JobOptions()
ADAPTIVE = JobOptions(vad=VadOptions(endpointing="adaptive"))


async def test_a_segment_is_announced_when_it_opens_and_as_it_grows(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, LIVE) as one:
        await one.say(meeting)
        *found, _ = await one.end()
    announced = one.speaking
    assert [(s.index, s.start) for s in announced if s.first] == [(u.index, u.start) for u in found]
    assert [s.index for s in announced] == sorted(s.index for s in announced)
    assert all(s.partials != s.first for s in announced)
    for utterance in found:
        ends = [s.end for s in announced if s.index == utterance.index]
        assert len(ends) > 2
        assert ends == sorted(ends)
        assert all(utterance.start < end for end in ends)
        assert ends[1] - ends[0] <= 330 * MS


@pytest.mark.parametrize("options", [JobOptions(partials=False), JobOptions(source="upload")])
async def test_without_interim_results_only_the_opening_is_announced(
    bus: Bus, segmenter: Bus, meeting: bytes, options: JobOptions
) -> None:
    async with call(bus, options) as one:
        await one.say(meeting)
        await one.bus.create(Closed(job="a", samples=await one.track.finish(), reason="stop"))
        await wait_until(lambda: bus.last_raw(Segmented.pattern("a")), description="the job is segmented")
    segmented = await bus.last(Segmented, Segmented.pattern("a"))
    assert segmented is not None
    assert [(s.index, s.first, s.partials) for s in one.speaking] == [
        (index, True, False) for index in range(segmented.value.segments)
    ]


async def test_the_open_segment_is_given_on_request(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    options = JobOptions(language="en", hotwords="Stenobus")
    async with call(bus, options) as one:
        await one.say(meeting[: 2 * 60_000])
        snapshot = await one.snapshot(1)
        assert snapshot.start == one.speaking[-1].start
        assert snapshot.pcm == meeting[2 * snapshot.start : 2 * 60_000]
        assert (snapshot.options.language, snapshot.options.hotwords) == ("en", "Stenobus")
        assert await utterance_before(bus, snapshot) == (await one.utterances())[0]
        await one.say(meeting[2 * 60_000 : 2 * 92_000])
        found = await one.utterances(2)
        assert await ask(bus, "live.a.snapshot", timeout=0.3) is None
        assert await ask(bus, "live.b.snapshot", timeout=0.3) is None
    assert (found[1].index, found[1].start) == (1, snapshot.start)
    assert found[1].pcm.startswith(snapshot.pcm)


async def test_a_pause_is_announced_once_with_the_end_of_the_utterance(
    bus: Bus, segmenter: Bus, meeting: bytes
) -> None:
    async with call(bus, LIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        assert (await one.snapshot()).settled == 0
        before = len(one.speaking)
        await one.silence(540)
        snapshot = await one.snapshot()
        assert [(s.end - VOICE_END) // MS for s in one.speaking[before:]] == [300]
        await one.silence(90)
        (found,) = await one.utterances()
        await one.end()
    assert snapshot.settled == found.end == VOICE_END + 300 * MS
    assert snapshot.pcm[: len(found.pcm)] == found.pcm
    assert (snapshot.lead, snapshot.options) == (found.lead, found.options)


async def test_the_end_of_a_sentence_ends_the_segment_early(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.hypothesize("We begin.")
        await one.silence(210)
        (found,) = await one.utterances()
        (cut,) = await one.cuts()
        assert 300 * MS <= cut.start - VOICE_END <= 420 * MS
        await one.silence(1_000)
        await one.say(meeting[: 2 * VOICE_END])
        *utterances, _ = await one.end()
    assert (found.start, found.end, found.continues) == (0, VOICE_END + 300 * MS, False)
    assert [one.index for one in utterances] == [0, 1]
    assert utterances[1].start > VOICE_END + 1_000 * MS


async def test_a_pause_in_the_middle_of_a_sentence_may_last_longer(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.hypothesize("We begin,")
        await one.silence(450)
        await one.say(meeting[2 * VOICE_START : 2 * VOICE_END])
        await one.snapshot()
        assert await one.cuts() == []
        await one.silence(210)
        await one.hypothesize("We begin, and go on,")
        await one.silence(900)
        (found,) = await one.utterances()
        assert await one.cuts() == []  # the segment has ended by its silence
        assert 0 <= found.end - (2 * VOICE_END - VOICE_START + (660 + 300) * MS) < 480
        await one.end()


async def test_without_a_hypothesis_a_pause_ends_after_the_usual_hangover(
    bus: Bus, segmenter: Bus, meeting: bytes
) -> None:
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.hypothesize("We begin.", end=VOICE_END - 1)  # it does not cover all that was said
        await one.silence(330)
        await one.snapshot()
        assert await one.cuts() == []
        await one.silence(90)
        (found,) = await one.utterances()
        (cut,) = await one.cuts()
        assert 600 * MS <= cut.start - VOICE_END <= 630 * MS
        assert found.end == VOICE_END + 300 * MS
        await one.silence(500)
        await one.end()
        assert len(await one.cuts()) == 1


def unchained(found: list[Utterance]) -> list[Utterance]:
    """The utterances without the sequences at which they were stored."""
    return [utterance.model_copy(update={"previous_seq": 0}) for utterance in found]


async def test_stored_audio_is_cut_in_the_same_places_again(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        for round_ in range(3):
            await one.say(meeting[: 2 * VOICE_END])
            await one.silence(210)
            await one.hypothesize("We begin.", index=round_)
            await one.silence(210)
            await one.utterances(round_ + 1)
        found = await one.end()
    assert len(await one.cuts()) == 3
    for known in range(len(found)):
        await bus.connection.js.purge_stream("SPEECH", subject=Utterance.pattern("a"))
        last = 0
        for utterance in found[:known]:
            last = await bus.append(utterance, last)
        # There are no hypotheses this time, and the audio is read as quickly as possible.
        async with Feed(bus) as feed:
            await LiveJob(bus, feed, Settings(), Opened(job="a", options=ADAPTIVE), found[0].epoch).run()
        assert unchained(await one.utterances()) == unchained(found)


async def test_garbage_about_a_job_is_ignored(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await bus.connection.nc.publish("live.a.partial", b"garbage")
        await bus.publish(Partial(job="a", index=10**9, start=0, end=10**12, text="Never."))
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.hypothesize("We begin.")
        await one.silence(210)
        assert len(await one.utterances()) == 1
        await one.end()


# ---- background tasks that fail


Result = TypeVar("Result")


def fails_once(
    monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Awaitable[Result]]
) -> list[RuntimeError]:
    """Have a function of the module fail the first time; returns the failures that are still to come."""
    failures = [RuntimeError("unforeseen")]

    async def failing(*args: object) -> Result:
        if failures:
            raise failures.pop()
        return await function(*args)

    monkeypatch.setattr(f"processors.vad.live.{name}", failing)
    return failures


async def test_a_job_whose_abandonment_check_fails_is_leased_again(
    bus: Bus, nats_url: str, meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = fails_once(monkeypatch, "ask", ask)
    async with connect(nats_url) as worker, call(bus, LIVE) as one:
        await one.track.send(meeting[: 2 * 16_000])
        running = asyncio.create_task(main(worker, Settings(abandoned=0.1)))
        await wait_until(lambda: bus.last_raw(Closed.pattern("a")), description="the job is ended by its next lease")
        worker.stopping.set()
        await running
    assert not failures
    assert (await one.utterances())[-1].epoch == 2


async def test_a_job_whose_cut_request_fails_is_leased_again(
    bus: Bus, segmenter: Bus, meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = fails_once(monkeypatch, "cut_audio", cut_audio)
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.hypothesize("We begin.")
        await one.silence(210)
        await wait_until(lambda: not failures, description="a cut request fails")
        await one.silence(1_000)
        found, end = await one.end()
    assert (found.start, found.end, found.epoch) == (0, VOICE_END + 300 * MS, 2)
    assert (end.last, end.epoch) == (True, 2)
