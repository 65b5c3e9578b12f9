"""Work that repeats for every capture, done for many in a row: one at a time, each would find cold caches.

Two frames are read at a time where there are many captures. To wake up for one frame costs more than the frame. So the
kernel is asked to wait until there is as much as the client will send within 30 ms, and what is read together is stored
together. A client that pauses, or sends something else than audio, does not have to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge.capture.receive_queue import Connection
from edge.capture.session import Session

PERIOD = 0.5
"""Seconds between two calls, where nothing else is said."""

_GROUP_EVERY = 0.05
"""Seconds between two groups of calls, so that nothing else waits for all of them."""

LONGEST_WAIT = 0.030
"""Seconds that audio may wait for more that is read together with it."""

LOOK_EVERY = 0.080
"""Seconds, more than audio that is read together lasts: a client that has sent nothing since has paused."""


class Ticker:
    """Calls each of its functions once in a period, in seconds. What one of them raises ends `run`."""

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

    async def run(self) -> None:
        """Call them until cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            for group in self._groups:
                due = max(due + self._every, clock())  # calls that a busy or sleeping process has missed are skipped
                await asyncio.sleep(due - clock())
                for tick in list(group):
                    tick()


class ReadCoalescing:
    """Decides for all captures of an edge how much is read at a time. least: captures from which it pays."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._readers: set[_Reader] = set()
        self._ticker = Ticker(LOOK_EVERY)

    async def run(self) -> None:
        """Adjust the captures until cancelled."""
        with self._ticker.calling(self._adjust):
            await self._ticker.run()

    @contextmanager
    def reading(self, connection: Connection, session: Session) -> Iterator[None]:
        """Adjust one capture while the block runs."""
        reader = _Reader(connection, session)
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)
            reader.await_bytes(1)

    def _adjust(self) -> None:
        enough = len(self._readers) >= self._least
        for reader in self._readers:
            session = reader.session
            if session.next_sample == reader.next_sample:
                reader.await_bytes(1)
                continue
            reader.next_sample = session.next_sample
            if session.message_bytes != reader.message_bytes:
                reader.message_bytes = session.message_bytes
                reader.together = bytes_together(session.message_bytes, session.message_seconds)
            reader.await_bytes(reader.together if enough else 1)


class _Reader:
    """One capture, as it was at the last look."""

    __slots__ = ("_connection", "awaited", "message_bytes", "next_sample", "session", "together")

    def __init__(self, connection: Connection, session: Session) -> None:
        self._connection = connection
        self.session = session
        self.next_sample = session.next_sample
        self.message_bytes = 0  # the size for which `together` was computed
        self.together = 1
        self.awaited = 1

    def await_bytes(self, count: int) -> None:
        """Pass the count on, if it has changed."""
        if count != self.awaited:
            self.awaited = count
            self._connection.await_bytes(count)


def bytes_together(size: int, seconds: float) -> int:
    """Bytes on the wire of a message and of those like it within `LONGEST_WAIT` after it; 1 if there are none."""
    messages = 1 + int(LONGEST_WAIT / seconds + 1e-6) if seconds else 1
    return 1 if messages == 1 else messages * (_head_bytes(size) + size)


def _head_bytes(size: int) -> int:
    """Bytes before the payload of a client's frame (RFC 6455, section 5.2)."""
    return 6 if size < 126 else 8 if size < 65_536 else 14
