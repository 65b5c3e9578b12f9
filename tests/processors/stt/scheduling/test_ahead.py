"""Decoding ahead, in front of a scheduler with a fake engine."""

from __future__ import annotations

import asyncio

import pytest

from contract import SpeechOptions
from processors.stt.core import Part
from processors.stt.scheduling.ahead import Ahead
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.sound import Sound
from tests.processors.stt.engines import POISON, Gated, Length, Stepped
from tests.processors.stt.scheduling.asking import Start, ask, ask_waiting, busy, texts
from tests.support import wait_until

OPTIONS = SpeechOptions()


def sound(samples: int) -> Sound:
    return Sound(bytes(2 * samples), ())


def ahead_of(scheduler: Scheduler) -> Ahead:
    return Ahead(scheduler, asyncio.create_task)


async def test_a_final_takes_what_was_decoded_ahead(start: Start) -> None:
    engine = Length()
    ahead = ahead_of(start(engine))
    decoding = ahead.start("j", 3, 100, sound(10), OPTIONS)
    assert ahead.start("j", 3, 100, sound(10), OPTIONS) is decoding
    await decoding
    taken = await ahead.take("j", 3, sound(10), OPTIONS)
    assert taken is not None
    assert (taken.text, engine.batches) == ("10 samples", [[10]])
    assert await ahead.take("j", 3, sound(10), OPTIONS) is None


@pytest.mark.parametrize(
    ("index", "other", "options"),
    [
        (3, Sound(bytes(20), (Part(0, 1, 10),)), OPTIONS),
        (3, Sound(bytes(18) + b"\1\0", ()), OPTIONS),
        (3, sound(10), SpeechOptions(language="ko")),
        (4, sound(10), OPTIONS),
    ],
)
async def test_a_final_that_is_not_exactly_the_same_takes_nothing(
    start: Start, index: int, other: Sound, options: SpeechOptions
) -> None:
    ahead = ahead_of(start(Length()))
    await ahead.start("j", 3, 100, sound(10), OPTIONS)
    assert await ahead.take("j", index, other, options) is None


async def test_what_nobody_will_take_is_not_decoded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.stt.scheduling.ahead._MAX_KEPT", 2)
    engine = Gated()
    scheduler = start(engine)
    ahead = ahead_of(scheduler)
    first = await busy(scheduler, engine)
    dropped = [ahead.start("changed", 0, 100, sound(20), OPTIONS)]
    assert await ahead.take("changed", 0, sound(21), OPTIONS) is None
    dropped.append(ahead.start("closed", 0, 100, sound(30), OPTIONS))
    ahead.close_segment("closed", 1)
    dropped += [ahead.start("oldest", 0, 100, sound(samples), OPTIONS) for samples in (40, 41)]
    dropped.append(ahead.start("longer", 0, 100, sound(60), OPTIONS))
    ahead.make_way("longer", 101)
    kept = [ahead.start(job, 0, 100, sound(50), OPTIONS) for job in ("a", "b")]
    ahead.close_segment("a", 0)
    ahead.make_way("b", 100)
    engine.allow_all()
    await asyncio.wait([first, *dropped, *kept])
    assert all(decoding.cancelled() for decoding in dropped)
    assert sorted(samples for batch in engine.batches for samples in batch) == [1, 50, 50]


async def test_a_final_takes_nothing_from_a_decoding_that_failed_or_was_cancelled(start: Start) -> None:
    ahead = ahead_of(start(Length()))
    await ahead.start("j", 0, 100, Sound(POISON, ()), OPTIONS)
    assert await ahead.take("j", 0, Sound(POISON, ()), OPTIONS) is None
    ahead.start("j", 1, 100, sound(10), OPTIONS).cancel()
    assert await ahead.take("j", 1, sound(10), OPTIONS) is None


async def test_a_decoding_goes_on_as_a_final_once_one_waits_for_it(start: Start) -> None:
    engine = Stepped()
    scheduler = start(engine)
    ahead = ahead_of(scheduler)
    ahead.start("j", 0, 100, sound(10), OPTIONS)
    await engine.called(10, 0)
    other = await ask_waiting(scheduler, 20, Priority.LIVE)
    final = asyncio.create_task(ahead.take("j", 0, sound(10), OPTIONS))
    await asyncio.sleep(0)
    later = ask(scheduler, 30)
    engine.allow(9)
    await texts([other, later])
    taken = await final
    assert taken is not None
    assert engine.calls_made == [(samples, step) for samples in (10, 20, 30) for step in range(3)]


async def test_a_decoding_that_waits_becomes_a_final_once_one_waits_for_it(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine, batch_size=1)
    ahead = ahead_of(scheduler)
    first = await busy(scheduler, engine)
    partial = ask(scheduler, 20, Priority.PARTIAL)
    await wait_until(lambda: engine.queued == 2, description="a partial waits")
    ahead.start("j", 0, 100, sound(30), OPTIONS)
    await wait_until(lambda: engine.queued == 3, description="what is decoded ahead waits")
    ahead.start("k", 0, 100, sound(40), OPTIONS)
    final = [
        asyncio.create_task(ahead.take(job, 0, sound(samples), OPTIONS)) for job, samples in (("k", 40), ("j", 30))
    ]
    await wait_until(lambda: engine.queued == 4, description="all wait")
    engine.allow_all()
    await texts([first, partial])
    assert [taken.text for taken in await asyncio.gather(*final) if taken] == ["40 samples", "30 samples"]
    assert sorted(engine.batches[1:3]) == [[30], [40]]
    assert engine.batches[3] == [20]


async def test_a_final_that_is_given_back_ends_its_decoding(start: Start) -> None:
    engine = Stepped()
    scheduler = start(engine)
    ahead = ahead_of(scheduler)
    decoding = ahead.start("j", 0, 100, sound(10), OPTIONS)
    await engine.called(10, 0)
    final = asyncio.create_task(ahead.take("j", 0, sound(10), OPTIONS))
    await asyncio.sleep(0)
    final.cancel()
    await asyncio.wait([final, decoding])
    assert (final.cancelled(), decoding.cancelled()) == (True, True)
    engine.allow(4)
    assert (await ask(scheduler, 20)).text == "20 samples"
    assert engine.calls_made == [(10, 0), (20, 0), (20, 1), (20, 2)]
