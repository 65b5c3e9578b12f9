from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from client.session.pacing import LIVE_MS, UPLOAD_MS
from client.session.sender import Sound

SOUND = bytes(range(250)) * 128


async def chunks(*sizes: int, broken: bool = False) -> AsyncIterator[bytes]:
    at = 0
    for size in sizes:
        yield SOUND[at : at + size]
        at += size
    if broken:
        raise ValueError("damaged")


async def sent(sound: Sound) -> list[bytes]:
    frames = []
    while frame := await sound.next_frame():
        frames.append(frame)
    return frames


@pytest.mark.parametrize("paced", [False, True])
async def test_half_a_sample_at_the_end_is_not_sent(*, paced: bool) -> None:
    sound = Sound(LIVE_MS, paced=paced)
    await sound.read(SOUND[:3], chunks(0), asyncio.Event())
    assert await sent(sound) == [SOUND[:2]]


@pytest.mark.parametrize("sizes", [(32_000,), (1, 1, 3, 15_355, 15_359, 1_281), (*[7] * 4_571, 3)])
async def test_an_upload_has_long_messages_however_it_is_read(sizes: tuple[int, ...]) -> None:
    sound = Sound(UPLOAD_MS, paced=False)
    await sound.read(b"", chunks(*sizes), asyncio.Event())
    frames = await sent(sound)
    assert [len(frame) for frame in frames] == [15_360, 15_360, 1_280]
    assert b"".join(frames) == SOUND


async def test_an_upload_whose_source_breaks_is_sent_up_to_there() -> None:
    sound = Sound(UPLOAD_MS, paced=False)
    await sound.read(SOUND[:1_001], chunks(20_000, 5, broken=True), asyncio.Event())
    assert str(sound.error) == "damaged"
    assert b"".join(await sent(sound)) == (SOUND[:1_001] + SOUND[:20_005])[:21_006]


async def test_live_sound_is_sent_frame_by_frame() -> None:
    sound = Sound(LIVE_MS, paced=True)
    for _ in range(3):
        sound.tail.add(SOUND[:960])
        assert await sound.next_frame() == SOUND[:960]


@pytest.mark.parametrize(("frame_ms", "longest"), [(10, 15_360), (LIVE_MS, 15_360), (1_000, 32_000)])
async def test_live_sound_that_has_piled_up_goes_out_as_an_upload_does(frame_ms: int, longest: int) -> None:
    sound = Sound(frame_ms, paced=True)
    sound.tail.add(SOUND * 2)
    sound.over = True
    frames = await sent(sound)
    assert {len(frame) for frame in frames[:-1]} == {longest}
    assert b"".join(frames) == SOUND * 2
