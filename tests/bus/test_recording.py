from __future__ import annotations

import random
from collections.abc import AsyncGenerator

import pytest

from bus import Bus
from bus.claim import claim_audio
from bus.recording import Extent, SoundGone, extent, read_sound
from compose.servers import Server
from contract.audio import AudioFrame, encode_audio

FRAME = 480


def pcm(start: int, end: int) -> bytes:
    """Audio in which each sample encodes its own index."""
    return b"".join((sample % 30_011 + 1).to_bytes(2, "little") for sample in range(start, end))


async def put(bus: Bus, *frames: tuple[int, int], job: str = "a") -> None:
    payloads = [encode_audio(AudioFrame(start, pcm(start, end))) for start, end in frames]
    for payload in payloads[:-1]:
        await bus.connection.nc.publish(f"audio.{job}", payload)
    await bus.store(f"audio.{job}", payloads[-1])  # stored when all before it are


async def finish(bus: Bus, end: int, job: str = "a") -> None:
    await bus.store(f"audio.{job}", encode_audio(AudioFrame(end, b"", last=True)))


async def read(bus: Bus, start: int, end: int, job: str = "a") -> bytes:
    return b"".join([piece async for piece in read_sound(bus, job, start, end)])


async def rest(reading: AsyncGenerator[bytes, None]) -> int:
    return sum([len(piece) async for piece in reading])


def frames(start: int, end: int) -> list[tuple[int, int]]:
    return [(at, min(at + FRAME, end)) for at in range(start, end, FRAME)]


async def test_a_job_without_audio(bus: Bus) -> None:
    await put(bus, (0, FRAME), job="other")
    assert await extent(bus, "a") is None
    with pytest.raises(SoundGone, match="ends at sample 0, not at 10"):
        await read(bus, 0, 10)
    assert await read(bus, 0, 0) == b""


async def test_any_stretch_of_a_finished_job(bus: Bus) -> None:
    end = 200 * FRAME + 17
    for own, others in zip(frames(0, end), frames(0, end), strict=True):
        await put(bus, own)
        await put(bus, others, others, job="other")
    await finish(bus, end)
    assert await extent(bus, "a") == Extent(0, end, True)
    for start, stop in [(0, end), (0, 1), (1, 2), (end - 1, end), (FRAME, 2 * FRAME), (70_001, 90_002), (end, end)]:
        assert await read(bus, start, stop) == pcm(start, stop)


async def test_a_late_stretch_is_not_read_from_the_beginning(bus: Bus, nats_server: Server) -> None:
    end = 4_000 * FRAME
    await put(bus, *frames(0, end))
    await finish(bus, end)
    bus_read, reads = bus.read, []

    def counting(*args: object, **kwargs: object) -> object:
        reads.append(kwargs["after"])
        return bus_read(*args, **kwargs)  # type: ignore[arg-type]

    bus.read = counting  # type: ignore[assignment, method-assign]
    assert await read(bus, 3_000 * FRAME, 3_001 * FRAME) == pcm(3_000 * FRAME, 3_001 * FRAME)
    (after,) = reads
    assert isinstance(after, int)
    assert 2_700 < after < 3_000


async def test_a_live_job_reaches_up_to_its_first_missing_sample(bus: Bus) -> None:
    await claim_audio(bus, "a")
    assert await extent(bus, "a") == Extent(0, 0, False)
    await put(bus, (0, FRAME), (FRAME, 960), (1_440, 1_920))
    assert await extent(bus, "a") == Extent(0, 960, False)
    await put(bus, (960, 1_440), (1_440, 1_920))
    assert await extent(bus, "a") == Extent(0, 1_920, False)
    await put(bus, (0, FRAME), (FRAME, 960))  # by an edge that was suspended
    assert await extent(bus, "a") == Extent(0, 1_920, False)
    assert await read(bus, 0, 1_920) == pcm(0, 1_920)


async def test_a_long_live_job(bus: Bus) -> None:
    await put(bus, *frames(0, 500 * FRAME))
    assert await extent(bus, "a") == Extent(0, 500 * FRAME, False)


async def test_garbage_marks_and_claims_are_not_audio(bus: Bus) -> None:
    await bus.store("audio.a", b"garbage")
    await put(bus, (0, FRAME))
    await bus.store("audio.a", encode_audio(AudioFrame(FRAME, b"", cut=True)))
    await bus.store("audio.a", encode_audio(AudioFrame(50_000, b"", cut=True)))
    await claim_audio(bus, "a")
    await put(bus, (FRAME, 960))
    await bus.store("audio.a", b"garbage")
    assert await extent(bus, "a") == Extent(0, 960, False)
    assert await read(bus, 0, 960) == pcm(0, 960)


async def test_a_gap_is_silence_of_the_same_length(bus: Bus) -> None:
    hole = (100 * FRAME, 300 * FRAME)
    end = 500 * FRAME
    await put(bus, *frames(0, hole[0]), *frames(hole[1], end))
    await finish(bus, end)
    whole = pcm(0, hole[0]) + bytes(2 * (hole[1] - hole[0])) + pcm(hole[1], end)
    for start, stop in [(0, end), (hole[0] - 5, hole[1] + 5), (hole[0] + 5, hole[1] - 5), (hole[1] - 1, end)]:
        assert await read(bus, start, stop) == whole[2 * start : 2 * stop]


async def test_audio_whose_beginning_has_aged_out(bus: Bus) -> None:
    await put(bus, *frames(0, 300 * FRAME))
    await finish(bus, 300 * FRAME)
    await bus.connection.js.purge_stream("AUDIO", seq=101)
    assert await extent(bus, "a") == Extent(100 * FRAME, 300 * FRAME, True)
    assert await read(bus, 100 * FRAME, 300 * FRAME) == pcm(100 * FRAME, 300 * FRAME)
    await bus.connection.js.purge_stream("AUDIO", seq=301)
    assert await extent(bus, "a") == Extent(300 * FRAME, 300 * FRAME, True)


async def test_audio_that_is_erased_while_it_is_read(bus: Bus) -> None:
    await put(bus, *frames(0, 2_000 * FRAME))
    reading = read_sound(bus, "a", 0, 2_000 * FRAME)
    assert await anext(reading) == pcm(0, FRAME)
    await bus.connection.js.purge_stream("AUDIO")
    with pytest.raises(SoundGone):
        await rest(reading)


def sent(rng: random.Random, samples: int) -> list[tuple[int, int]]:
    """A stream after go-back-N with refusals, lost acks, take-overs and a sender that was suspended."""
    order: list[tuple[int, int]] = []
    todo = frames(0, samples)
    at = 0
    while at < len(todo):
        chance = rng.random()
        if chance < 0.02:  # one is refused, those behind it are not, then all are sent again
            order += todo[at + 1 : at + 1 + rng.randrange(30)]
        elif chance < 0.04:  # stored, but the ack was lost
            begin = max(0, at - rng.randrange(30))
            order += todo[begin : rng.randrange(begin, at + 1)]
        elif chance < 0.05:  # from an edge that was suspended while another went on
            begin = rng.randrange(at + 1)
            order += todo[begin : min(at, begin + 30)]
        order.append(todo[at])
        at += 1
    return order


@pytest.mark.parametrize("seed", range(6))
async def test_audio_is_read_correctly_however_it_was_sent(bus: Bus, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    end = 1_500 * FRAME
    await put(bus, *sent(rng, end))
    await finish(bus, end)
    whole = pcm(0, end)
    for _ in range(15):
        start = rng.randrange(end)
        stop = min(end, start + rng.choice([1, 1_000, 100_000]))
        assert await read(bus, start, stop) == whole[2 * start : 2 * stop]
    assert await read(bus, 0, end) == whole
