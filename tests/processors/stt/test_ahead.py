"""Finals whose sound was decoded ahead, on a real nats-server; the segmenter is a responder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from nats.aio.msg import Msg

from bus import Bus
from bus.requests import listening
from contract import RATE, Partial, Snapshot, Speaking, Utterance
from processors.stt.core import DecodeResult
from tests.processors.stt.engines import Audio, Length, Stepped
from tests.processors.stt.test_windows import Together
from tests.processors.stt.workers import transcripts, wait_for_transcripts, wait_until_settled, working
from tests.support import wait_until

START = 2 * RATE


def said(samples: int, previous_seq: int) -> Utterance:
    return Utterance(
        job="j",
        index=1,
        previous_seq=previous_seq,
        start=START,
        end=START + samples,
        pcm=bytes([7, 0]) * samples,
        lead=bytes([8, 0]) * 4_800,
    )


@asynccontextmanager
async def paused(bus: Bus, utterance: Utterance) -> AsyncIterator[list[Partial]]:
    """A segment whose sound so far is that of the utterance and 100 samples of the pause; gives its interim results."""
    known = {"job", "index", "previous_seq", "start", "lead", "options"}
    snapshot = Snapshot(
        **utterance.model_dump(include=known),
        end=utterance.end + 100,
        pcm=utterance.pcm + bytes(200),
        settled=utterance.end,
    )
    told: list[Partial] = []

    async def answer(msg: Msg) -> None:
        await msg.respond(snapshot.encode())

    subscription = await bus.connection.nc.subscribe(Snapshot.pattern("j"), cb=answer)
    async with listening(bus, Partial, "j", told.append):
        await bus.publish(Speaking(job="j", index=1, start=START, end=snapshot.end))
        yield told
    await subscription.unsubscribe()


async def first_utterance(bus: Bus) -> int:
    """Store and transcribe what was said before; gives its sequence. By then the worker listens to all messages."""
    seq = await bus.publish(Utterance(job="j", index=0, start=0, end=RATE, pcm=bytes(2 * RATE)))
    await wait_for_transcripts(bus, 1)
    return seq


async def test_a_final_that_was_decoded_ahead_costs_no_decoding_and_says_the_same(bus: Bus, nats_url: str) -> None:
    engine = Together()
    async with working(nats_url, engine):
        one = said(8_000, await first_utterance(bus))
        async with paused(bus, one) as told:
            await wait_until(lambda: told, description="an interim result")
        await bus.publish(one)
        await bus.publish(one.model_copy(update={"job": "other", "index": 0, "previous_seq": 0}))
        await wait_for_transcripts(bus, 2)
        await wait_for_transcripts(bus, 1, "other")
        await wait_until_settled(bus)
    (final,) = [made for made in await transcripts(bus) if made.index == 1]
    assert (final.text, final.start, final.end) == ("16000-28800 of 1", one.start, one.end)
    assert [(partial.index, partial.end, partial.text) for partial in told] == [(1, one.end, final.text)]
    assert engine.batches == [[16_000], [28_800], [12_800]]


async def test_a_final_waits_for_its_decoding_that_has_begun(bus: Bus, nats_url: str) -> None:
    engine = Stepped()
    engine.allow(3)
    async with working(nats_url, engine):
        one = said(8_000, await first_utterance(bus))
        async with paused(bus, one):
            await engine.called(8_000, 0)
            await bus.publish(one)
            await wait_until(lambda: is_in_hand(bus), description="a worker has the final")
            engine.allow(3)
            await wait_for_transcripts(bus, 2)
            await wait_until_settled(bus)
    assert engine.batches == [[16_000], [8_000]]
    assert [made.error for made in await transcripts(bus)] == [None, None]


async def is_in_hand(bus: Bus) -> bool:
    return bool((await bus.connection.js.consumer_info("SPEECH", "stt-live")).num_ack_pending)


@pytest.mark.parametrize("more", [-480, 480])
async def test_a_final_of_another_sound_is_decoded(bus: Bus, nats_url: str, more: int) -> None:
    engine = Length()
    async with working(nats_url, engine):
        one = said(8_000, await first_utterance(bus))
        async with paused(bus, one) as told:
            await wait_until(lambda: told, description="an interim result")
        await bus.publish(said(8_000 + more, one.previous_seq))
        await wait_for_transcripts(bus, 2)
        await wait_until_settled(bus)
    assert engine.batches == [[16_000], [8_000], [8_000 + more]]
    assert sorted(made.text for made in await transcripts(bus)) == ["16000 samples", f"{8_000 + more} samples"]


async def test_a_final_whose_decoding_ahead_failed_is_decoded(bus: Bus, nats_url: str) -> None:
    class FailsOnce(Length):
        def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
            found = super().call(batch)
            if len(self.batches) == 2:
                raise RuntimeError("cannot decode this now")
            return found

    engine = FailsOnce()
    async with working(nats_url, engine, attempts=1):
        one = said(8_000, await first_utterance(bus))
        async with paused(bus, one):
            await wait_until(lambda: len(engine.batches) == 2, description="it is decoded ahead")
        await bus.publish(one)
        await wait_for_transcripts(bus, 2)
        await wait_until_settled(bus)
    assert engine.batches == [[16_000], [8_000], [8_000]]
    assert [made.error for made in await transcripts(bus)] == [None, None]
