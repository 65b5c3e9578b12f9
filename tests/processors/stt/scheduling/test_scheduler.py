"""Requests arrive one by one and are decoded in batches. A gate stops the engine, so that the queue is known."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from itertools import chain

import pytest

from bus.supervisor import Supervisor
from contract import SpeechOptions
from processors.stt.core import DecodeResult, OutOfMemory, Part, UnsupportedOptions
from processors.stt.scheduling.batcher import MAX_SKIPPED, Priority
from processors.stt.scheduling.scheduler import Scheduler
from tests.processors.stt.engines import POISON, Audio, Gated, Length, LittleMemory, Lossy, Stepped, result
from tests.processors.stt.scheduling.asking import Start, ask, ask_behind, ask_pcm, ask_waiting, busy, queued, texts
from tests.support import wait_until


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
        def prepare(
            self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
        ) -> Audio | DecodeResult:
            return Audio(pcm, options, interim, group=len(pcm) > 40_000, on_queue=self.count_queued)

    engine = Grouped()
    scheduler = start(engine, batch_seconds=2.0)
    first = await busy(scheduler, engine)
    others = await ask_behind(scheduler, engine, 21_000, priority=Priority.REPLAY)
    others += await ask_behind(scheduler, engine, 10_000, 11_000, priority=Priority.UPLOAD)
    others += await ask_behind(scheduler, engine, 12_000, 25_000, priority=Priority.LIVE)
    engine.allow_all()
    await texts([first, *others])
    assert engine.batches == [[1], [12_000], [25_000], [10_000, 11_000], [21_000]]


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
        def prepare(
            self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
        ) -> Audio | DecodeResult:
            return result("nothing") if len(pcm) < 20 else super().prepare(pcm, options, parts=parts, interim=interim)

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
        def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
            given.extend((audio.pcm, audio.options, audio.interim) for audio in batch)
            return super().call(batch)

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
    poison = await queued(engine, ask_pcm(scheduler, POISON))
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
    dropped = await queued(engine, ask_pcm(scheduler, POISON if fails else bytes(60)))
    (behind,) = await ask_behind(scheduler, engine, 40)
    engine.allow()
    await wait_until(lambda: engine.begun == 2, description="the batch is decoded")
    dropped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dropped
    engine.allow_all()
    assert await texts([first, kept, behind]) == ["1 samples", "10 samples", "40 samples"]
    assert (await ask(scheduler, 5)).text == "5 samples"


async def test_a_priority_is_free_once_nothing_as_urgent_waits_or_is_decoded(start: Start) -> None:
    engine = Gated()
    scheduler = start(engine, batch_size=1)
    await scheduler.wait_free(Priority.PARTIAL)
    first = await busy(scheduler, engine)
    idle = asyncio.create_task(scheduler.wait_free(Priority.PARTIAL))
    (other,) = await ask_behind(scheduler, engine, 10)
    engine.allow()
    await wait_until(lambda: engine.begun == 2, description="the second is decoded")
    assert first.done()
    assert not idle.done()
    engine.allow()
    await other
    await wait_until(idle.done, description="free")
    upload = ask(scheduler, 20, Priority.UPLOAD)
    await wait_until(lambda: engine.begun == 3, description="an upload is decoded")
    await scheduler.wait_free(Priority.PARTIAL)  # the upload would pause
    engine.allow_all()
    await upload


async def test_one_of_two_workers_is_enough_to_be_free(start: Start) -> None:
    engine = Gated(workers=2)
    scheduler = start(engine)
    first = await busy(scheduler, engine, 1)
    await scheduler.wait_free(Priority.LIVE)
    second = await busy(scheduler, engine, 2)
    free = asyncio.create_task(scheduler.wait_free(Priority.LIVE))
    await wait_until(lambda: engine.running == 2, description="both are at work")
    assert not free.done()
    engine.allow_all()
    await texts([first, second])
    await free


@pytest.mark.parametrize("priority", [Priority.PARTIAL, Priority.UPLOAD, Priority.REPLAY, Priority.CORRECTION])
async def test_a_final_waits_for_one_call_of_a_less_urgent_batch(start: Start, priority: Priority) -> None:
    engine = Stepped()
    scheduler = start(engine)
    other = ask(scheduler, 10, priority)
    await engine.called(10, 0)
    final = await ask_waiting(scheduler, 20, Priority.LIVE)
    engine.allow(4)
    assert (await final).text == "20 samples"
    await engine.called(10, 1)
    assert not other.done()
    engine.allow(2)
    assert (await other).text == "10 samples"
    assert engine.calls_made == [(10, 0), (20, 0), (20, 1), (20, 2), (10, 1), (10, 2)]


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_most_urgent_batch_goes_on_and_the_model_has_no_more_calls_than_workers(
    start: Start, workers: int
) -> None:
    engine = Stepped(workers=workers, steps=2)
    scheduler = start(engine, batch_size=1)
    tasks = [ask(scheduler, 10 + worker, Priority.CORRECTION) for worker in range(workers)]
    await wait_until(lambda: engine.running == workers, description="each worker is busy")
    for samples, priority in enumerate((Priority.REPLAY, Priority.UPLOAD, Priority.PARTIAL, Priority.LIVE), 2):
        tasks += [await ask_waiting(scheduler, 10 * samples + worker, priority) for worker in range(workers)]
    engine.allow(2 * len(tasks))
    await asyncio.gather(*tasks)
    assert engine.max_running == workers
    if workers == 1:  # with two, one of a pair may be faster than the other
        assert [samples for samples, step in engine.calls_made if step == 0] == [10, 50, 40, 30, 20]
        assert [samples for samples, step in engine.calls_made if step == 1] == [50, 40, 30, 20, 10]


async def test_where_calls_share_cores_a_less_urgent_batch_waits_for_the_end_of_a_final(start: Start) -> None:
    engine = Stepped(workers=2, steps=2)
    engine.oversubscribed = True
    scheduler = start(engine)
    partial = ask(scheduler, 10, Priority.PARTIAL)
    await engine.called(10, 0)
    final = ask(scheduler, 20, Priority.LIVE)
    await engine.called(20, 0)
    upload = await ask_waiting(scheduler, 30, Priority.UPLOAD)
    other = ask(scheduler, 40, Priority.PARTIAL)
    engine.allow(8)
    await asyncio.gather(partial, final, upload, other)
    order = engine.calls_made
    assert order.index((20, 1)) < min(order.index(call) for call in ((10, 1), (30, 0), (40, 0)))


@pytest.mark.parametrize(("priority", "goes_on"), [(Priority.UPLOAD, True), (Priority.CORRECTION, False)])
async def test_under_lasting_overload_a_paused_batch_gets_one_call_in_nine(
    start: Start, priority: Priority, goes_on: bool
) -> None:
    engine = Stepped(steps=3)
    scheduler = start(engine, batch_size=1)
    paused = ask(scheduler, 10, priority)
    await engine.called(10, 0)
    finals = [ask(scheduler, 20 + number) for number in range(12)]
    await wait_until(lambda: scheduler._turns.waiting, description="the first final waits for a turn")
    await wait_until(lambda: len(scheduler._batcher) == 11, description="the others wait")
    engine.allow(3 * 13)
    await texts(finals)
    await paused
    calls_between = engine.calls_made.index((10, 1)) - 1
    assert calls_between >= MAX_SKIPPED
    assert (calls_between < 3 * 12) == goes_on


async def test_a_paused_batch_that_nobody_waits_for_is_abandoned(start: Start) -> None:
    engine = Stepped()
    scheduler = start(engine)
    partials = [ask(scheduler, 10, Priority.PARTIAL)]
    await engine.called(10, 0)
    final = await ask_waiting(scheduler, 20, Priority.LIVE)
    engine.allow(1)
    await engine.called(20, 0)
    await wait_until(lambda: scheduler._turns.waiting, description="the partial pauses")
    partials[0].cancel()
    await wait_until(lambda: not scheduler._turns.waiting, description="its thread has ended")
    engine.allow(3)
    assert (await final).text == "20 samples"
    engine.allow(3)
    assert (await ask(scheduler, 30, Priority.PARTIAL)).text == "30 samples"
    assert [samples for samples, _ in engine.calls_made] == [10, 20, 20, 20, 30, 30, 30]


async def test_closing_ends_a_paused_batch(start: Start) -> None:
    engine = Stepped()
    scheduler = start(engine)
    upload = ask(scheduler, 10, Priority.UPLOAD)
    await engine.called(10, 0)
    final = await ask_waiting(scheduler, 20, Priority.LIVE)
    engine.allow(1)
    await engine.called(20, 0)
    await wait_until(lambda: scheduler._turns.waiting, description="the upload pauses")
    scheduler.close()
    await asyncio.gather(upload, final, return_exceptions=True)
    assert upload.cancelled()
    assert final.cancelled()
    await wait_until(lambda: not scheduler._turns.waiting, description="its thread has ended")
    engine.allow(1)
    await wait_until(lambda: not engine.running, description="the call of the final has returned")
    assert engine.calls_made == [(10, 0), (20, 0)]


async def test_a_batch_goes_on_while_somebody_waits_for_it(start: Start) -> None:
    engine = Stepped()
    scheduler = start(engine)
    final = ask(scheduler, 20)
    await engine.called(20, 0)
    kept, dropped = ask(scheduler, 10, Priority.PARTIAL), ask(scheduler, 11, Priority.PARTIAL)
    await wait_until(lambda: len(scheduler._batcher) == 2, description="both wait")
    engine.allow(4)
    await final
    await wait_until(lambda: len(engine.calls_made) == 5, description="both are decoded")
    dropped.cancel()
    engine.allow(2)
    assert (await kept).text == "10 samples"


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
        def prepare(
            self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
        ) -> Audio | DecodeResult:
            if len(pcm) == 2 * 99:
                gate.wait(60)
            return super().prepare(pcm, options, parts=parts, interim=interim)

    engine = Slow(workers=2)
    scheduler = start(engine)
    try:
        slow = ask(scheduler, 99)
        assert await texts([ask(scheduler, 10), ask(scheduler, 20)]) == ["10 samples", "20 samples"]
        assert not slow.done()
    finally:
        gate.set()
    assert (await slow).text == "99 samples"
