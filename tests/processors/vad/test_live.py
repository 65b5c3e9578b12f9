"""What is told of an open segment while it grows, and how pauses are judged by what others understand of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bus import AudioPublisher, AudioTrack, Bus, connect
from bus.feed import Feed
from bus.requests import ask, listening
from contract import Closed, JobOptions, Opened, Partial, Segmented, Snapshot, Speaking, Utterance, VadOptions
from contract.audio import AudioFrame, decode_audio
from processors.vad.__main__ import main
from processors.vad.live import LiveJob
from processors.vad.settings import Settings
from tests.support import wait_until

VOICE_START, VOICE_END = 8_000, 31_680
"""Of the first thing that is said in the meeting."""

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
    """A job whose sound comes bit by bit, and all that is told of it."""

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
        """What is open, once that is all the sound that was sent."""
        found: list[Snapshot] = []

        async def has_come() -> bool:
            with suppress(TimeoutError):
                answer = await self.bus.connection.nc.request("live.a.snapshot", b"", timeout=0.2)
                found[:] = [Snapshot.decode(answer.data)]
            return bool(found) and (found[0].index, found[0].end) == (index, self.track.sent)

        await wait_until(has_come, description=f"a snapshot of {index} up to {self.track.sent}")
        return found[0]

    async def understand(self, text: str, *, end: int | None = None, index: int = 0) -> None:
        """Say what a speech worker would, of all the sound that was sent or up to `end`."""
        snapshot = await self.snapshot(index)
        end = snapshot.end if end is None else end
        await self.bus.publish(Partial(job="a", index=index, start=snapshot.start, end=end, text=text))
        await self.snapshot(index)  # the segmenter answers this one after it

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
        """No more sound; all utterances."""
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


async def test_speech_is_told_when_it_opens_and_while_it_grows(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, LIVE) as one:
        await one.say(meeting)
        *found, _ = await one.end()
    told = one.speaking
    assert [(s.index, s.start) for s in told if s.first] == [(u.index, u.start) for u in found]
    assert [s.index for s in told] == sorted(s.index for s in told)
    assert all(s.partials != s.first for s in told)
    for utterance in found:
        ends = [s.end for s in told if s.index == utterance.index]
        assert len(ends) > 2
        assert ends == sorted(ends)
        assert all(utterance.start < end for end in ends)
        assert ends[1] - ends[0] <= 330 * MS


@pytest.mark.parametrize("options", [JobOptions(partials=False), JobOptions(source="upload")])
async def test_where_no_interim_results_are_wanted_only_the_opening_is_told(
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


async def test_the_sound_of_what_is_open_is_had_for_the_asking(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    options = JobOptions(language="en", hotwords="Stenobus")
    async with call(bus, options) as one:
        await one.say(meeting[: 2 * 60_000])
        snapshot = await one.snapshot(1)
        assert snapshot.start == one.speaking[-1].start
        assert snapshot.pcm == meeting[2 * snapshot.start : 2 * 60_000]
        assert (snapshot.options.language, snapshot.options.hotwords) == ("en", "Stenobus")
        await one.say(meeting[2 * 60_000 : 2 * 92_000])
        found = await one.utterances(2)
        assert await ask(bus, "live.a.snapshot", timeout=0.3) is None
        assert await ask(bus, "live.b.snapshot", timeout=0.3) is None
    assert (found[1].index, found[1].start) == (1, snapshot.start)
    assert found[1].pcm.startswith(snapshot.pcm)


async def test_a_sentence_that_is_over_ends_early(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.understand("We begin.")
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


async def test_in_the_middle_of_a_sentence_a_pause_may_last_longer(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.understand("We begin,")
        await one.silence(450)
        await one.say(meeting[2 * VOICE_START : 2 * VOICE_END])
        await one.snapshot()
        assert await one.cuts() == []
        await one.silence(210)
        await one.understand("We begin, and go on,")
        await one.silence(900)
        (found,) = await one.utterances()
        assert await one.cuts() == []  # it has ended by its silence
        assert 0 <= found.end - (2 * VOICE_END - VOICE_START + (660 + 300) * MS) < 480
        await one.end()


async def test_where_nothing_is_understood_a_pause_ends_as_ever(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.understand("We begin.", end=VOICE_END - 1)  # not of all that was said
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


async def test_what_is_stored_is_cut_in_the_same_places_again(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        for round_ in range(3):
            await one.say(meeting[: 2 * VOICE_END])
            await one.silence(210)
            await one.understand("We begin.", index=round_)
            await one.silence(210)
            await one.utterances(round_ + 1)
        found = await one.end()
    assert len(await one.cuts()) == 3
    for known in range(len(found)):
        await bus.connection.js.purge_stream("SPEECH", subject=Utterance.pattern("a"))
        last = 0
        for utterance in found[:known]:
            last = await bus.append(utterance, last)
        # Nobody understands anything this time, and it is read as quickly as can be.
        async with Feed(bus) as feed:
            await LiveJob(bus, feed, Settings(), Opened(job="a", options=ADAPTIVE), found[0].epoch).run()
        assert await one.utterances() == found


async def test_garbage_about_a_job_harms_nobody(bus: Bus, segmenter: Bus, meeting: bytes) -> None:
    async with call(bus, ADAPTIVE) as one:
        await bus.connection.nc.publish("live.a.partial", b"garbage")
        await bus.publish(Partial(job="a", index=10**9, start=0, end=10**12, text="Never."))
        await one.say(meeting[: 2 * VOICE_END])
        await one.silence(210)
        await one.understand("We begin.")
        await one.silence(210)
        assert len(await one.utterances()) == 1
        await one.end()
