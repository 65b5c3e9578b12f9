"""Reading two frames of sound at a time where there are many captures.

To wake up for a frame, and to find a connection's memory in no cache, costs more than the frame. So the kernel is asked
to wait until there is as much as the client is about to send within 30 ms, and what is read together is stored
together. A client that pauses, or says something else than sound, is not kept waiting for what will not come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from edge.capture.connection import Connection
from edge.capture.session import Session
from edge.capture.ticker import Ticker

LONGEST = 0.030
"""Seconds that sound may wait for what is read together with it."""

LOOK_EVERY = 0.080
"""Seconds, longer than what is read together lasts: of a client that has sent nothing since, nothing is waited for."""


class Coalescing:
    """All captures of an edge. least: so many of them make it worth while."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._readers: set[_Reader] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after the captures while the block runs."""
        ticker = Ticker(LOOK_EVERY)
        with ticker.calling(self._look):
            async with ticker.running():
                yield

    @contextmanager
    def reading(self, connection: Connection, session: Session) -> Iterator[None]:
        """Have one capture looked after while the block runs."""
        reader = _Reader(connection, session)
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)
            reader.await_bytes(1)

    def _look(self) -> None:
        """See what has come since the last time."""
        busy = len(self._readers) >= self._least
        for reader in self._readers:
            session = reader.session
            if session.next_sample == reader.seen:
                reader.await_bytes(1)
                continue
            reader.seen = session.next_sample
            if session.message_bytes != reader.message_bytes:
                reader.message_bytes = session.message_bytes
                reader.together = together(session.message_bytes, session.message_seconds)
            reader.await_bytes(reader.together if busy else 1)


class _Reader:
    """One capture."""

    __slots__ = ("_connection", "awaited", "message_bytes", "seen", "session", "together")

    def __init__(self, connection: Connection, session: Session) -> None:
        self._connection = connection
        self.session = session
        self.seen = session.next_sample
        self.message_bytes = 0  # for which `together` was found
        self.together = 1
        self.awaited = 1

    def await_bytes(self, count: int) -> None:
        """Tell the connection, where that is news."""
        if count != self.awaited:
            self.awaited = count
            self._connection.await_bytes(count)


def together(size: int, seconds: float) -> int:
    """Bytes on the wire of messages like this one that come within `LONGEST` after it, and its own; 1: it is alone."""
    messages = 1 + int(LONGEST / seconds + 1e-6) if seconds else 1
    return 1 if messages == 1 else messages * (_head_bytes(size) + size)


def _head_bytes(size: int) -> int:
    """What comes before the payload of a client's frame (RFC 6455, section 5.2)."""
    return 6 if size < 126 else 8 if size < 65_536 else 14
