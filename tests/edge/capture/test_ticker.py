from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest

from edge.capture.ticker import Ticker
from tests.support import wait_until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.capture.ticker.PERIOD", 0.05)


async def test_all_are_called_equally_often() -> None:
    ticker, called = Ticker(), Counter[int]()
    with ExitStack() as stack:
        for number in range(25):
            stack.enter_context(ticker.calling(lambda number=number: called.update([number])))  # type: ignore[misc]
        async with ticker.running():
            await wait_until(lambda: len(called) == 25 and min(called.values()) >= 5, description="some rounds")
    assert max(called.values()) - min(called.values()) <= 1


async def test_what_fails_stops_nobody_and_is_called_again() -> None:
    ticker, failed, called = Ticker(), Counter[str](), Counter[str]()

    def fail() -> None:
        failed["here"] += 1
        raise ValueError

    with ticker.calling(fail), ticker.calling(lambda: called.update(["there"])):
        async with ticker.running():
            await wait_until(lambda: failed["here"] >= 3 and called["there"] >= 3, description="three rounds of both")


async def test_who_has_left_is_not_called() -> None:
    ticker, called = Ticker(), Counter[str]()
    with ticker.calling(lambda: called.update(["gone"])):
        pass
    with ticker.calling(lambda: called.update(["there"])):
        async with ticker.running():
            await wait_until(lambda: called["there"] >= 3, description="three rounds")
    assert called["gone"] == 0


async def test_one_may_leave_while_it_is_called() -> None:
    ticker, called = Ticker(), Counter[str]()
    stack = ExitStack()
    stack.enter_context(ticker.calling(stack.close))
    with ticker.calling(lambda: called.update(["there"])):
        async with ticker.running():
            await wait_until(lambda: called["there"] >= 3, description="three rounds")
