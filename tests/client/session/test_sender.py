from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from client.session.outgoing import LIVE_MS, UPLOAD_MS
from client.session.sender import Sender

SOUND = bytes(range(250)) * 128


async def chunks(*sizes: int, broken: bool = False) -> AsyncIterator[bytes]:
    at = 0
    for size in sizes:
        yield SOUND[at : at + size]
        at += size
    if broken:
        raise ValueError("damaged")


async def sent(sender: Sender) -> list[bytes]:
    frames = []
    while frame := await sender.next_frame():
        frames.append(frame)
    return frames


@pytest.mark.parametrize("paced", [False, True])
async def test_half_a_sample_at_the_end_is_not_sent(*, paced: bool) -> None:
    sender = Sender(LIVE_MS, paced=paced)
    await sender.read(SOUND[:3], chunks(0), asyncio.Event())
    assert await sent(sender) == [SOUND[:2]]


@pytest.mark.parametrize("sizes", [(32_000,), (1, 1, 3, 15_355, 15_359, 1_281), (*[7] * 4_571, 3)])
async def test_an_upload_has_long_messages_however_it_is_read(sizes: tuple[int, ...]) -> None:
    sender = Sender(UPLOAD_MS, paced=False)
    await sender.read(b"", chunks(*sizes), asyncio.Event())
    frames = await sent(sender)
    assert [len(frame) for frame in frames] == [15_360, 15_360, 1_280]
    assert b"".join(frames) == SOUND


async def test_an_upload_whose_source_breaks_is_sent_up_to_there() -> None:
    sender = Sender(UPLOAD_MS, paced=False)
    await sender.read(SOUND[:1_001], chunks(20_000, 5, broken=True), asyncio.Event())
    assert str(sender.error) == "damaged"
    assert b"".join(await sent(sender)) == (SOUND[:1_001] + SOUND[:20_005])[:21_006]


async def test_live_sound_is_sent_frame_by_frame() -> None:
    sender = Sender(LIVE_MS, paced=True)
    for _ in range(3):
        sender.backlog.add(SOUND[:960])
        assert await sender.next_frame() == SOUND[:960]


@pytest.mark.parametrize(("frame_ms", "longest"), [(10, 15_360), (LIVE_MS, 15_360), (1_000, 32_000)])
async def test_a_live_backlog_is_sent_in_long_messages(frame_ms: int, longest: int) -> None:
    sender = Sender(frame_ms, paced=True)
    sender.backlog.add(SOUND * 2)
    sender.ended = True
    frames = await sent(sender)
    assert {len(frame) for frame in frames[:-1]} == {longest}
    assert b"".join(frames) == SOUND * 2
