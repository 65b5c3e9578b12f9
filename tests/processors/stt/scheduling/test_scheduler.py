"""Requests arrive one by one and are decoded in batches. A gate stops the engine, so that the queue is known."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import pytest

from bus.supervisor import Supervisor
from contract import SpeechOptions
from processors.stt.core import DecodeResult, OutOfMemory, UnsupportedOptions
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler, SpeechEngine
from tests.processors.stt.engines import POISON, Audio, Gated, Length, LittleMemory, Lossy, result
from tests.support import wait_until

Start = Callable[..., Scheduler]


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes a scheduler for an engine, with batches of up to `batch_size` utterances and `batch_seconds`."""
    made: list[tuple[Scheduler, SpeechEngine]] = []

    def make(engine: SpeechEngine, batch_size: int = 8, batch_seconds: float = 1_000) -> Scheduler:
        made.append((Scheduler(engine, batch_size, batch_seconds, asyncio.create_task), engine))
        return made[-1][0]

    yield make
    for scheduler, engine in made:
        if isinstance(engine, Gated):
            engine.allow_all()
        scheduler.close()


def ask(scheduler: Scheduler, samples: int, priority: Priority = Priority.LIVE) -> asyncio.Task[DecodeResult]:
    return ask_pcm(scheduler, bytes(2 * samples), priority)


def ask_pcm(
    scheduler: Scheduler, pcm: bytes, priority: Priority = Priority.LIVE, **options: str
) -> asyncio.Task[DecodeResult]:
    return asyncio.create_task(scheduler.transcribe(pcm, SpeechOptions.model_validate(options), priority))


async def ask_behind(
    scheduler: Scheduler, engine: Gated, *samples: int, priority: Priority = Priority.LIVE
) -> list[asyncio.Task[DecodeResult]]:
    """Request utterances that have to wait, in this order."""
    return [await _queued(engine, ask(scheduler, count, priority)) for count in samples]


async def _queued(engine: Gated, task: asyncio.Task[DecodeResult]) -> asyncio.Task[DecodeResult]:
    before = engine.queued
    await wait_until(lambda: engine.queued > before, description="it waits")
    return task


async def busy(scheduler: Scheduler, engine: Gated, samples: int = 1) -> asyncio.Task[DecodeResult]:
    """Keep a worker of the engine busy."""
    before = engine.begun
    task = ask(scheduler, samples)
    await wait_until(lambda: engine.begun > before, description="the engine is at work")
    return task


async def texts(tasks: Sequence[asyncio.Task[DecodeResult]]) -> list[str]:
    return [one.text for one in await asyncio.gather(*tasks)]


async def test_a_single_utterance_is_decoded_at_once(start: Start) -> None:
    engine = Length()
    scheduler = start(engine)
    for samples in (100, 200):
        found = await ask(scheduler, samples)
        assert found.text == f"{samples} samples"
        assert found.elapsed > 0
    assert engine.batches == [[100], [200]]


async def test_waiting_utterances_are_batched_and_each_gets_its_own_result(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine, batch_size=4)
    first = await busy(scheduler, engine)
    others = await ask_behind(scheduler, engine, 10, 20, 30, 40, 50)
    assert engine.begun == 1
    engine.allow_all()
    assert await texts([first, *others]) == ["1 samples", *(f"{n}0 samples" for n in range(1, 6))]
    assert engine.batches == [[1], [10, 20, 30, 40], [50]]


async def test_batches_respect_priority_group_and_cost(start: Start) -> None:
    class Grouped(Gated):
        def prepare(self, pcm: bytes, options: SpeechOptions, *, interim: bool = False) -> Audio | DecodeResult:
            return Audio(pcm, options, interim, group=len(pcm) > 40_000, on_queue=self.count_queued)

    engine = Grouped()
    scheduler = start(engine, batch_seconds=2.0)
    first = await busy(scheduler, engine)
    others = await ask_behind(scheduler, engine, 21_000, priority=Priority.REPLAY)
    others += await ask_behind(scheduler, engine, 10_000, 11_000, priority=Priority.UPLOAD)
    others += await ask_behind(scheduler, engine, 12_000, 25_000, priority=Priority.LIVE)
    engine.allow_all()
    await texts([first, *others])
    assert engine.batches == [[1], [12_000, 10_000], [25_000], [11_000], [21_000]]


async def test_workers_decode_at_the_same_time_and_share_the_queue(start: Start) -> None:
    engine = Gated(workers=2)
    scheduler = start(engine)
    first = [await busy(scheduler, engine, 1), await busy(scheduler, engine, 2)]
    others = await ask_behind(scheduler, engine, 10, 20, 30)
    assert (engine.begun, engine.max_running) == (2, 2)
    engine.allow_all()
    await texts([*first, *others])
    assert engine.max_running == 2
    assert sorted(chain.from_iterable(engine.batches)) == [1, 2, 10, 20, 30]


async def test_a_result_without_the_model_does_not_wait_for_the_model(start: Start) -> None:
    class Short(Gated):
        def prepare(self, pcm: bytes, options: SpeechOptions, *, interim: bool = False) -> Audio | DecodeResult:
            return result("nothing") if len(pcm) < 20 else super().prepare(pcm, options, interim=interim)

    engine = Short()
    scheduler = start(engine)
    first = await busy(scheduler, engine, 100)
    assert (await ask(scheduler, 1)).text == "nothing"
    assert engine.begun == 1
    engine.allow_all()
    await first


async def test_unsupported_options_fail_at_once_and_alone(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    with pytest.raises(UnsupportedOptions, match="language 'la'"):
        await ask_pcm(scheduler, bytes(20), language="la")
    engine.allow_all()
    assert (await first).text == "1 samples"
    assert engine.batches == [[1]]


async def test_options_and_interim_reach_the_engine(start: Start) -> None:
    given: list[tuple[bytes, SpeechOptions, bool]] = []

    class Watched(Length):
        def decode(self, batch: Sequence[Audio]) -> list[DecodeResult]:
            given.extend((audio.pcm, audio.options, audio.interim) for audio in batch)
            return super().decode(batch)

    scheduler = start(Watched())
    options = SpeechOptions(language="ko", hotwords="회의")
    await scheduler.transcribe(b"\1\0", options, Priority.PARTIAL, interim=True)
    await scheduler.transcribe(b"\2\0", options, Priority.LIVE)
    assert given == [(b"\1\0", options, True), (b"\2\0", options, False)]


async def test_an_utterance_that_fails_does_not_affect_the_others(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    before = await ask_behind(scheduler, engine, 10, 20)
    poison = await _queued(engine, ask_pcm(scheduler, POISON))
    after = await ask_behind(scheduler, engine, 30)
    engine.allow_all()
    assert await texts([first, *before, *after]) == ["1 samples", "10 samples", "20 samples", "30 samples"]
    with pytest.raises(RuntimeError, match="cannot decode this"):
        await poison
    assert engine.batches == [[1], [10, 20, 1_600, 30], [10], [20], [1_600], [30]]
    assert (await ask(scheduler, 5)).text == "5 samples"


async def test_out_of_memory_halves_the_batch_and_later_ones_stay_small(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    engine = LittleMemory(limit=3)
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    others = await ask_behind(scheduler, engine, *range(10, 18))
    engine.allow(8)
    assert await texts([first, *others]) == ["1 samples", *(f"{n} samples" for n in range(10, 18))]
    assert [len(batch) for batch in engine.batches] == [1, 8, 4, 2, 2, 4, 2, 2]
    engine.batches.clear()
    first = await busy(scheduler, engine)
    others = await ask_behind(scheduler, engine, *range(20, 25))
    engine.allow_all()
    await texts([first, *others])
    assert engine.batches == [[1], [20, 21], [22, 23], [24]]
    warned = [record.levelno for record in caplog.records if "out of memory" in record.getMessage()]
    assert warned == [logging.WARNING] * 3


async def test_an_utterance_too_large_for_memory_fails_alone(start: Start) -> None:
    engine = LittleMemory(limit=8)
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    others = await ask_behind(scheduler, engine, 10, 20_000, 30)
    engine.allow_all()
    with pytest.raises(OutOfMemory):
        await others.pop(1)
    assert await texts([first, *others]) == ["1 samples", "10 samples", "30 samples"]
    assert (await ask(scheduler, 40)).text == "40 samples"


async def test_a_request_cancelled_in_the_queue_is_not_decoded(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    kept, dropped = await ask_behind(scheduler, engine, 10, 20)
    dropped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dropped
    engine.allow_all()
    assert await texts([first, kept]) == ["1 samples", "10 samples"]
    assert engine.batches == [[1], [10]]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_request_cancelled_during_decoding_does_not_affect_the_others(start: Start, fails: bool) -> None:
    engine = Gated()
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    (kept,) = await ask_behind(scheduler, engine, 10)
    dropped = await _queued(engine, ask_pcm(scheduler, POISON if fails else bytes(60)))
    (behind,) = await ask_behind(scheduler, engine, 40)
    engine.allow()
    await wait_until(lambda: engine.begun == 2, description="the batch is decoded")
    dropped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dropped
    engine.allow_all()
    assert await texts([first, kept, behind]) == ["1 samples", "10 samples", "40 samples"]
    assert (await ask(scheduler, 5)).text == "5 samples"


async def test_idle_is_when_a_worker_is_free_and_nothing_waits(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine, batch_size=1)
    await scheduler.wait_idle()
    first = await busy(scheduler, engine)
    idle = asyncio.create_task(scheduler.wait_idle())
    (other,) = await ask_behind(scheduler, engine, 10)
    engine.allow()
    await wait_until(lambda: engine.begun == 2, description="the second is decoded")
    assert first.done()
    assert not idle.done()
    engine.allow()
    await other
    await wait_until(idle.done, description="idle")


async def test_one_of_two_workers_is_enough_to_be_idle(start: Start) -> None:
    engine = Gated(workers=2)
    scheduler = start(engine)
    first = await busy(scheduler, engine, 1)
    await scheduler.wait_idle()
    second = await busy(scheduler, engine, 2)
    idle = asyncio.create_task(scheduler.wait_idle())
    await wait_until(lambda: engine.running == 2, description="both are at work")
    assert not idle.done()
    engine.allow_all()
    await texts([first, second])
    await idle


async def test_closing_cancels_every_request_and_does_not_wait_for_the_inference(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine)
    first = await busy(scheduler, engine)
    (waiting,) = await ask_behind(scheduler, engine, 10)
    scheduler.close()
    assert engine.running == 1
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        await ask(scheduler, 20)
    for task in (first, waiting):
        with pytest.raises(asyncio.CancelledError):
            await task
    engine.allow_all()
    await wait_until(lambda: not engine.running, description="the inference ends by itself")
    assert engine.batches == [[1]]


async def test_an_unforeseen_error_ends_the_owner_of_the_tasks() -> None:
    with pytest.raises(ValueError, match="shorter"):
        async with Supervisor() as tasks:
            await Scheduler(Lossy(), 8, 1_000, tasks.start).transcribe(bytes(20), SpeechOptions(), Priority.LIVE)


async def test_the_model_does_not_wait_for_a_slow_preparation(start: Start) -> None:
    """While one utterance is being prepared, the others are decoded."""
    gate = threading.Event()

    class Slow(Length):
        def prepare(self, pcm: bytes, options: SpeechOptions, *, interim: bool = False) -> Audio | DecodeResult:
            if len(pcm) == 2 * 99:
                gate.wait(60)
            return super().prepare(pcm, options, interim=interim)

    engine = Slow(workers=2)
    scheduler = start(engine)
    try:
        slow = ask(scheduler, 99)
        assert await texts([ask(scheduler, 10), ask(scheduler, 20)]) == ["10 samples", "20 samples"]
        assert not slow.done()
    finally:
        gate.set()
    assert (await slow).text == "99 samples"
