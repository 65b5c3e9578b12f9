from __future__ import annotations

import asyncio

import pytest

from bus import AudioPublisher, Bus
from bus.claim import AudioEnded, Claim, Superseded, check_claim, claim_audio, cut_audio, end_audio
from contract import Utterance
from contract.audio import AudioFrame, decode_audio, encode_audio
from tests.support import wait_until

FRAME = b"\x01\x02" * 480


async def put(bus: Bus, *starts: int) -> None:
    for start in starts:
        await bus.store("audio.a", encode_audio(AudioFrame(start, FRAME)))


async def test_a_job_without_audio_is_claimed_at_its_beginning(bus: Bus) -> None:
    claim = await claim_audio(bus, "a")
    assert claim == Claim(0, 1)
    assert decode_audio((await bus.history("AUDIO", "audio.a"))[0].data) == AudioFrame(0, b"")


async def test_a_claim_begins_at_the_first_missing_sample(bus: Bus) -> None:
    await put(bus, 0, 480, 1_440)  # 960 was refused, and its sender is gone
    assert (await claim_audio(bus, "a")).start == 960


async def test_a_claim_does_not_read_audio_that_is_segmented(bus: Bus) -> None:
    await put(bus, 0, 480, 960, 1_440, 1_920)
    await bus.append(Utterance(job="a", index=0, start=0, end=1_440, audio_seq=2), 0)
    await bus.connection.js.delete_msg("AUDIO", 1)
    assert (await claim_audio(bus, "a")).start == 2_400


async def test_audio_that_has_ended_cannot_be_claimed(bus: Bus) -> None:
    await put(bus, 0)
    await end_audio(bus, "a", 480, 1)
    with pytest.raises(AudioEnded):
        await claim_audio(bus, "a")


async def test_only_the_last_claim_can_end_the_audio(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        former = publisher.track("a", await claim_audio(bus, "a"))
        await former.send(FRAME)
        await former.drained()
        present = publisher.track("a", await claim_audio(bus, "a"))
        assert present.sent == 480
        with pytest.raises(Superseded):
            await former.finish()
        await present.send(FRAME)
        assert await present.finish() == 960
        with pytest.raises(Superseded):
            await present.finish()
    frames = [decode_audio(raw.data) for raw in await bus.history("AUDIO", "audio.a")]
    assert [(frame.start, len(frame.pcm), frame.last) for frame in frames] == [
        (0, 0, False),
        (0, 960, False),
        (480, 0, False),
        (480, 960, False),
        (960, 0, True),
    ]


@pytest.mark.parametrize("left", [0, 1])
async def test_audio_that_has_become_too_old_can_still_be_ended(bus: Bus, left: int) -> None:
    """As after a suspension or a jump of the clock of more than BUS_AUDIO_HOURS: the stream drops it by its age."""
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a", await claim_audio(bus, "a"))
        await track.send(FRAME)
        await track.drained()
        await track.send(FRAME)
        await track.drained()
        for raw in (await bus.history("AUDIO", "audio.a"))[left:]:
            await bus.connection.js.delete_msg("AUDIO", raw.seq)
        assert await track.finish() == 960
        with pytest.raises(Superseded):
            await track.finish()
    assert decode_audio((await bus.history("AUDIO", "audio.a"))[-1].data) == AudioFrame(960, b"", last=True)


async def test_a_claim_holds_until_the_next_claim_or_the_end(bus: Bus) -> None:
    former = await claim_audio(bus, "a")
    await put(bus, 0)
    await check_claim(bus, "a", former)
    present = await claim_audio(bus, "a")
    with pytest.raises(Superseded):
        await check_claim(bus, "a", former)
    await end_audio(bus, "a", 480, present.seq)
    with pytest.raises(AudioEnded):
        await check_claim(bus, "a", present)


async def test_repeated_frames_do_not_prevent_the_end_mark(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a", await claim_audio(bus, "a"))
        await track.send(FRAME)
        await track.drained()
        await put(bus, 0)  # the same frame from an earlier round, stored late
        assert await track.finish() == 480


async def put_cut(bus: Bus, at: int) -> int:
    return await bus.store("audio.a", encode_audio(AudioFrame(at, b"", cut=True)))


async def test_a_cut_is_neither_a_claim_nor_an_end(bus: Bus) -> None:
    former = await claim_audio(bus, "a")
    await put(bus, 0)
    for at in (0, 480, 9_999):
        await put_cut(bus, at)
    await check_claim(bus, "a", former)
    assert (await claim_audio(bus, "a")).start == 480


async def test_a_cut_of_the_segmenter_does_not_prevent_the_end_mark(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a", await claim_audio(bus, "a"))
        await track.send(FRAME)
        await track.drained()
        await put_cut(bus, 480)
        assert await track.finish() == 480


async def test_a_cut_of_a_former_owner_hides_no_claim_from_it(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        former = publisher.track("a", await claim_audio(bus, "a"))
        await former.send(FRAME)
        await former.drained()
        await claim_audio(bus, "a")
        await former.cut()
        with pytest.raises(Superseded):
            await former.finish()


async def cuts(bus: Bus) -> list[int]:
    frames = [decode_audio(raw.data) for raw in await bus.history("AUDIO", "audio.a")]
    return [frame.start for frame in frames if frame.cut]


async def test_a_cut_is_stored_behind_frames_that_came_meanwhile(bus: Bus) -> None:
    await put(bus, 0, 480, 960)
    await cut_audio(bus, "a", 480, 1, lambda: True)
    assert await cuts(bus) == [480]
    assert len(await bus.history("AUDIO", "audio.a")) == 4


async def test_a_cut_is_not_stored_behind_the_end_of_the_audio(bus: Bus) -> None:
    await put(bus, 0)
    await end_audio(bus, "a", 480, 1)
    await cut_audio(bus, "a", 480, 1, lambda: True)
    assert await cuts(bus) == []


async def test_a_cut_that_is_no_longer_wanted_is_not_stored(bus: Bus) -> None:
    await put(bus, 0, 480)
    answers = iter((True, False))
    await cut_audio(bus, "a", 480, 1, lambda: next(answers))
    assert await cuts(bus) == []


async def test_frames_that_a_former_owner_still_sends_are_harmless_repeats(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        former = publisher.track("a", await claim_audio(bus, "a"))
        await former.send(FRAME)
        await former.drained()
        claims = await asyncio.gather(claim_audio(bus, "a"), former.send(FRAME))
        present = publisher.track("a", claims[0])
        for _ in range(3):
            await present.send(FRAME)
        await wait_until(lambda: former.stored == former.sent, description="the former owner's frame is stored")
        assert await present.finish() == claims[0].start + 3 * 480
