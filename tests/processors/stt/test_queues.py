"""What goes first where the engine has more to do than it can, on a real nats-server."""

from __future__ import annotations

import asyncio

from bus import Bus
from contract import Source
from processors.stt.batcher import PATIENCE
from tests.processors.stt.engines import Gated
from tests.processors.stt.test_main import (
    transcripts,
    utterance,
    wait_for_transcripts,
    wait_until_settled,
    working,
)
from tests.support import wait_until


async def test_what_waits_for_a_busy_engine_is_decoded_together(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    async with working(nats_url, engine):
        await bus.publish(utterance(0))
        await wait_until(lambda: engine.begun, description="the first one alone, at once")
        for index in range(1, 12):
            await bus.publish(utterance(index))
        await wait_until(lambda: engine.queued == 12, description="all others wait")
        engine.let_all()
        await wait_for_transcripts(bus, 12)
        await wait_until_settled(bus)
    samples = [1_600 + index for index in range(12)]
    assert [sorted(batch) for batch in engine.batches] == [samples[:1], samples[1:9], samples[9:]]
    assert {t.index: t.text for t in await transcripts(bus)} == {i: f"{1_600 + i} samples" for i in range(12)}


async def test_live_goes_before_uploads_and_these_before_replays(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    later: list[tuple[Source, int]] = [("replay", 11), ("replay", 12), ("upload", 21), ("upload", 22), ("live", 31)]
    async with working(nats_url, engine, batch_size=1):
        await bus.publish(utterance(0))
        await wait_until(lambda: engine.begun, description="the engine is busy")
        for count, (source, index) in enumerate(later, 2):
            await bus.publish(utterance(index, source=source))
            await wait_until(lambda count=count: engine.queued == count, description=f"{source} {index} waits")
        engine.let_all()
        await wait_for_transcripts(bus, 6)
        await wait_until_settled(bus, "live", "upload", "replay")
    assert engine.batches == [[1_600 + index] for index in (0, 31, 21, 22, 11, 12)]


async def test_a_backlog_of_uploads_does_not_hold_up_what_is_live(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    await asyncio.gather(*(bus.publish(utterance(index, job="u", source="upload")) for index in range(300)))
    async with working(nats_url, engine):
        in_hand = 2 * 8  # batches of eight, and twice that many in hand
        await wait_until(lambda: engine.queued == in_hand, description="the engine has uploads and no room for more")
        await bus.publish(utterance(0, pcm=bytes(2 * 999)))
        await wait_until(lambda: engine.queued == in_hand + 1, description="what is live waits too")
        engine.let(2)
        await wait_for_transcripts(bus, 1)
        assert engine.batches[1][0] == 999
        assert len(await transcripts(bus, "u")) <= 8
        engine.let_all()
        await wait_for_transcripts(bus, 300, "u")
        await wait_until_settled(bus, "live", "upload")
    assert sorted(t.index for t in await transcripts(bus, "u")) == list(range(300))
    assert engine.calls == 301


async def test_nothing_starves_while_there_is_always_something_live(bus: Bus, nats_url: str) -> None:
    engine = Gated(seconds=0.02)  # time for the next live one to come in
    await bus.publish(utterance(1, source="replay", pcm=bytes(2 * 111)))
    await bus.publish(utterance(2, source="upload", pcm=bytes(2 * 222)))
    for index in range(100, 140):
        await bus.publish(utterance(index))
    async with working(nats_url, engine, batch_size=1):
        await wait_until(lambda: engine.queued == 4, description="two live ones, an upload and a replay")
        engine.let_all()
        await wait_for_transcripts(bus, 42)
    order = [samples for (samples,) in engine.batches]
    assert order.index(222) <= PATIENCE + 1
    assert order.index(111) <= PATIENCE + 2


async def test_a_replay_is_another_generation_and_waits_for_what_is_live(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    async with working(nats_url, engine, batch_size=1):  # two of each source in hand
        for index in (0, 1):
            await bus.publish(utterance(index, source="replay", generation=2))
        await wait_until(lambda: engine.begun and engine.queued == 2, description="the engine is busy with a replay")
        for index in (10, 11):
            await bus.publish(utterance(index))
        await wait_until(lambda: engine.queued == 4, description="what is live waits")
        engine.let_all()
        await wait_for_transcripts(bus, 4)
        await wait_until_settled(bus, "live", "replay")
    assert engine.batches == [[1_600 + index] for index in (0, 10, 11, 1)]
    assert {(each.generation, each.index) for each in await transcripts(bus)} == {(2, 0), (2, 1), (1, 10), (1, 11)}
