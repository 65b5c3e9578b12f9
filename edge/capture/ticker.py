"""What every capture does again and again, done for many in a row: apart, each would find cold caches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

log = structlog.get_logger()

PERIOD = 0.5
"""Seconds between two calls, where nothing else is said."""

_GROUP_EVERY = 0.05
"""Seconds after which some are called, so that nothing else waits for all of them."""


class Ticker:
    """Calls each of its functions once in a period, in seconds."""

    def __init__(self, period: float | None = None) -> None:
        period = period or PERIOD
        groups = max(1, round(period / _GROUP_EVERY))
        self._every = period / groups
        self._groups: list[set[Callable[[], None]]] = [set() for _ in range(groups)]

    @contextmanager
    def calling(self, tick: Callable[[], None]) -> Iterator[None]:
        """Call `tick` while the block runs."""
        group = min(self._groups, key=len)
        group.add(tick)
        try:
            yield
        finally:
            group.discard(tick)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Call them while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            for group in self._groups:
                due = max(due + self._every, clock())  # what a busy or sleeping process has missed is not made up
                await asyncio.sleep(due - clock())
                for tick in list(group):
                    try:
                        tick()
                    except Exception:
                        log.exception("tick failed")
