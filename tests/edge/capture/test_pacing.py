from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import pytest

from bus import Bus
from bus.supervisor import Supervisor
from contract import JobOptions
from contract.audio import decode_audio
from edge.capture.pacing import LONGEST_WAIT, ReadCoalescing, Ticker, bytes_together
from edge.capture.session import Session
from tests.edge.capture.test_receive_queue import FakeConnection
from tests.edge.capturing import FRAME, closed, stored
from tests.edge.conftest import StartEdge
from tests.support import wait_until


@asynccontextmanager
async def running(ticker: Ticker | ReadCoalescing) -> AsyncIterator[None]:
    async with Supervisor() as tasks:
        tasks.start(ticker.run())
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.capture.pacing.PERIOD", 0.05)


@pytest.mark.usefixtures("quick")
async def test_all_are_called_equally_often() -> None:
    ticker, called = Ticker(), Counter[int]()
    with ExitStack() as stack:
        for number in range(25):
            stack.enter_context(ticker.calling(lambda number=number: called.update([number])))  # type: ignore[misc]
        async with running(ticker):
            await wait_until(lambda: len(called) == 25 and min(called.values()) >= 5, description="some rounds")
    assert max(called.values()) - min(called.values()) <= 1


@pytest.mark.usefixtures("quick")
async def test_what_a_function_raises_ends_the_ticker() -> None:
    ticker = Ticker()
    with ticker.calling(lambda: 1 / 0), pytest.raises(ZeroDivisionError):  # type: ignore[arg-type]
        await ticker.run()


@pytest.mark.usefixtures("quick")
async def test_who_has_left_is_not_called() -> None:
    ticker, called = Ticker(), Counter[str]()
    with ticker.calling(lambda: called.update(["gone"])):
        pass
    with ticker.calling(lambda: called.update(["there"])):
        async with running(ticker):
            await wait_until(lambda: called["there"] >= 3, description="three rounds")
    assert called["gone"] == 0


@pytest.mark.usefixtures("quick")
async def test_one_may_leave_while_it_is_called() -> None:
    ticker, called = Ticker(), Counter[str]()
    stack = ExitStack()
    stack.enter_context(ticker.calling(stack.close))
    with ticker.calling(lambda: called.update(["there"])):
        async with running(ticker):
            await wait_until(lambda: called["there"] >= 3, description="three rounds")


@pytest.mark.parametrize(
    ("size", "seconds", "count"),
    [
        (960, 0.030, 2 * 968),
        (640, 0.020, 2 * 648),
        (320, 0.010, 4 * 328),
        (80, 0.010, 4 * 86),
        (66_000, 0.030, 2 * 66_014),
        (992, 0.031, 1),
        (3_840, 0.120, 1),
        (200, 0.0, 1),
    ],
    ids=["30 ms", "20 ms", "10 ms", "short", "long", "31 ms", "120 ms", "it cannot be told"],
)
def test_audio_of_at_most_30_ms_is_awaited(size: int, seconds: float, count: int) -> None:
    assert bytes_together(size, seconds) == count
    assert seconds == 0 or count // size <= 1 + LONGEST_WAIT / seconds


class Reader(FakeConnection):
    """A connection that notes what it is to wait for, and its session."""

    def __init__(self, **options: str) -> None:
        super().__init__()
        self.awaited = [1]
        self.session = Session("a", JobOptions.model_validate(options))

    def await_bytes(self, count: int) -> None:
        self.awaited.append(count)

    async def until(self, count: int, frame: bytes | None = None) -> None:
        """Wait until so much is awaited; meanwhile frames are received."""

        def awaited() -> bool:
            if frame is not None:
                self.session.check_audio([frame])
            return self.awaited[-1] == count

        await wait_until(awaited, description=f"{count} bytes are awaited, not {self.awaited}")


async def test_a_client_that_sends_is_waited_for_and_one_that_pauses_is_not() -> None:
    coalescing, reader = ReadCoalescing(1), Reader()
    async with running(coalescing):
        with coalescing.reading(reader, reader.session):
            await reader.until(2 * 968, FRAME)
            await reader.until(2 * 648, FRAME[:640])  # it sends less at a time now
            await reader.until(1, None)
            await reader.until(2 * 968, FRAME)
    assert reader.awaited == [1, 2 * 968, 2 * 648, 1, 2 * 968, 1]


async def test_few_captures_are_read_at_once() -> None:
    coalescing, readers = ReadCoalescing(3), [Reader() for _ in range(3)]
    async with running(coalescing):
        with ExitStack() as stack:
            for reader in readers[:2]:
                stack.enter_context(coalescing.reading(reader, reader.session))
            with coalescing.reading(readers[2], readers[2].session):
                await readers[2].until(2 * 968, FRAME)
                await readers[0].until(2 * 968, FRAME)
            await readers[0].until(1, FRAME)
    assert readers[1].awaited == [1]


async def test_packets_of_unknown_length_are_read_one_by_one() -> None:
    coalescing, opus, pcm = ReadCoalescing(1), Reader(encoding="opus"), Reader()
    async with running(coalescing):
        with coalescing.reading(opus, opus.session), coalescing.reading(pcm, pcm.session):
            await pcm.until(2 * 968, FRAME)
            opus.session.check_audio([b"x" * 100])
            await pcm.until(1, None)
            await pcm.until(2 * 968, FRAME)
    assert opus.awaited == [1]


async def test_frames_read_together_are_stored_together_and_an_odd_one_does_not_wait(
    start_edge: StartEdge, worker: Bus
) -> None:
    """The frame that is left over, and what the client says after it, are read though nothing more comes."""
    async with start_edge(coalesce=1) as edge:
        job = await edge.create()
        async with edge.socket(job) as client:
            sent = 0

            async def longest() -> int:
                nonlocal sent
                await client.send(FRAME)
                await asyncio.sleep(0.03)
                sent += 1
                return max(len(decode_audio(raw.data).pcm) for raw in await worker.history("AUDIO", f"audio.{job}"))

            async def two_at_once() -> bool:
                return await longest() == 2 * len(FRAME)

            await wait_until(two_at_once, description="two frames are stored in one message")
            for _ in range(2):  # one of them is odd
                await client.send(FRAME)
                sent += 1
                await wait_until(partial(is_stored, worker, job, sent), description="what was sent is stored")
            await client.send(FRAME)
            await client.send(json.dumps({"command": "finalize"}))
            await wait_until(lambda: is_cut(worker, job), description="finalize is obeyed")
            await client.send(json.dumps({"command": "stop"}))
            assert (await closed(worker, job)).samples == 480 * (sent + 1)
            assert await stored(worker, job) == FRAME * (sent + 1)


async def is_stored(bus: Bus, job: str, frames: int) -> bool:
    return await stored(bus, job) == FRAME * frames


async def is_cut(bus: Bus, job: str) -> bool:
    return any(decode_audio(raw.data).cut for raw in await bus.history("AUDIO", f"audio.{job}"))
