"""The engine and its scheduler on a device that runs out of memory, or is lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import Bus
from contract import SpeechOptions
from processors.stt.core import DecodeResult, DeviceLost, OutOfMemory
from processors.stt.scheduling import limit
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.whisper.engine import Engine
from tests.processors.stt.engines import Length, OutOfReach
from tests.processors.stt.sounds import MICRO, Sentence, sentences
from tests.processors.stt.starved import Starved, starve
from tests.processors.stt.workers import (
    process,
    transcripts,
    utterance,
    wait_for_transcripts,
    wait_until_settled,
    working,
)
from tests.support import wait_until

MEMORY = (
    "CUDA failed with error out of memory",
    "parallel_for failed: cudaErrorMemoryAllocation: out of memory",
    "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal",
    "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
    "cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED",
)


@pytest.fixture
def engine() -> Engine:
    return Engine(str(MICRO), device="cpu", workers=1, threads=1)


@pytest.fixture(scope="module")
def said() -> list[Sentence]:
    """Sentences of similar length, so that they share a batch."""
    return sorted(sentences("standup"), key=lambda sentence: len(sentence.pcm))[:4]


@pytest.fixture
def without_garbage_collector() -> Iterator[None]:
    """Nothing may be freed only because a cycle happens to be found in time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def decode_together(scheduler: Scheduler, starved: Starved, said: list[Sentence]) -> list[DecodeResult]:
    """All of them wait while another one is encoded, so that they share a batch if they may."""
    starved.is_open.clear()
    options = SpeechOptions(language="en")
    asked = [asyncio.create_task(scheduler.transcribe(one.pcm, options, Priority.UPLOAD)) for one in [said[0], *said]]
    await wait_until(lambda: len(scheduler._batcher) == len(said), description="all but the first wait")
    starved.is_open.set()
    return (await asyncio.gather(*asked))[1:]


@pytest.mark.usefixtures("without_garbage_collector")
@pytest.mark.parametrize("error", MEMORY)
async def test_a_batch_without_memory_is_decoded_in_halves_after_its_memory_is_released(
    engine: Engine, said: list[Sentence], error: str
) -> None:
    alone = [engine.transcribe(one.pcm, SpeechOptions(language="en")).text for one in said]
    starved = starve(engine, room=5.0, error=error)
    scheduler = Scheduler(engine, 8, 1_000, asyncio.create_task)
    found = await decode_together(scheduler, starved, said)
    assert [one.text for one in found] == alone
    assert starved.sizes == [1, 4, 2, 2], "a half fits only once what its whole had encoded is gone"
    del found
    assert starved.used == 0
    scheduler.close()


async def test_batches_grow_again_once_there_is_memory(
    engine: Engine, said: list[Sentence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, "FIRST_PAUSE", 0.0)
    starved = starve(engine, room=5.0, error=MEMORY[0])
    scheduler = Scheduler(engine, 4, 1_000, asyncio.create_task)
    await decode_together(scheduler, starved, said)
    assert starved.sizes == [1, 4, 2, 2]
    starved.room = 100
    await decode_together(scheduler, starved, said)
    await decode_together(scheduler, starved, said)
    assert starved.sizes[-2:] == [1, 4]
    scheduler.close()


@pytest.mark.usefixtures("without_garbage_collector")
async def test_an_utterance_that_never_fits_fails_and_holds_no_memory(engine: Engine, said: list[Sentence]) -> None:
    starved = starve(engine, room=1.5, error=MEMORY[0])
    scheduler = Scheduler(engine, 8, 1_000, asyncio.create_task)
    with pytest.raises(OutOfMemory, match=r"^CUDA failed with error out of memory$") as caught:
        await scheduler.transcribe(said[0].pcm, SpeechOptions(language="en"), Priority.LIVE)
    assert starved.used == 0, "though the error is still there"
    assert caught.value.__context__ is None
    starved.room = 2
    assert (await scheduler.transcribe(said[0].pcm, SpeechOptions(language="en"), Priority.LIVE)).text
    scheduler.close()


async def test_a_lost_device_fails_whatever_was_decoded(engine: Engine, said: list[Sentence]) -> None:
    starved = starve(engine, room=0, error="CUDA failed with error an illegal memory access was encountered")
    tasks: list[asyncio.Task[None]] = []

    def start(work: object) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work))  # type: ignore[arg-type]
        return tasks[-1]

    scheduler = Scheduler(engine, 8, 1_000, start)
    with pytest.raises(DeviceLost):
        await scheduler.transcribe(said[0].pcm, SpeechOptions(language="en"), Priority.LIVE)
    assert starved.sizes == []
    with pytest.raises(DeviceLost):
        await tasks[0]
    scheduler.close()


async def test_an_utterance_without_memory_waits_and_is_not_given_up(
    bus: Bus, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.scheduling.scheduler._AGAIN_AFTER", 0.01)
    monkeypatch.setattr("processors.stt.worker._MEMORY_AGAIN", 0.01)
    engine = OutOfReach(failures=7)
    async with working(nats_url, engine, attempts=1):
        await bus.publish(utterance(0))
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert [(one.text, one.error) for one in await transcripts(bus)] == [("1600 samples", None)]


async def test_a_lost_device_ends_the_process_and_its_work_moves_on(bus: Bus, nats_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with process("-m", "tests.processors.stt.engines", "lost", log=log, NATS_URL=nats_url) as child:
        await bus.publish(utterance(0))
        assert await child.wait() == 1
    assert "the device serves this process no more" in log.read_text()
    async with working(nats_url, Length()):
        await wait_for_transcripts(bus, 1)
    assert [(one.text, one.error) for one in await transcripts(bus)] == [("1600 samples", None)]
