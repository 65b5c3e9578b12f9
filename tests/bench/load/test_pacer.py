from __future__ import annotations

import asyncio
from collections import Counter

from bench.load.pacer import Pacer
from tests.support import wait_until


async def test_each_is_called_once_in_the_time_of_a_frame() -> None:
    pacer, calls = Pacer(30), Counter[int]()
    order: list[int] = []
    for place in range(60):

        def send(place: int = place) -> None:
            calls[place] += 1
            order.append(place)

        pacer.add(place, send)
    running = asyncio.create_task(pacer.run())
    await wait_until(lambda: pacer.frames >= 10 * 60, description="ten frames of each")
    running.cancel()
    assert max(calls.values()) - min(calls.values()) <= 1
    assert order[:60] == [place for turn in range(30) for place in (turn, turn + 30)]
    assert pacer.late.frames.total() == pacer.frames == len(order)


async def test_who_is_removed_is_not_called_any_more() -> None:
    pacer, calls = Pacer(10), Counter[str]()
    leaver, stayer = (lambda: calls.update("l")), (lambda: calls.update("s"))
    pacer.add(3, leaver)
    pacer.add(3, stayer)
    running = asyncio.create_task(pacer.run())
    await wait_until(lambda: calls["l"] > 2, description="both are called")
    pacer.remove(3, leaver)
    had = calls["l"]
    stayed = calls["s"]
    await wait_until(lambda: calls["s"] > stayed + 2, description="the other goes on")
    running.cancel()
    assert calls["l"] == had
