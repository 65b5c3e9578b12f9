"""The audio of live jobs as it is stored, without a consumer for each of them.

The stream tells each message that it has stored on `feed.<job>`, at most once, with its sequence and with that of the
job's message before it. So whoever listens knows when something is missing, and reads it from the stream: at the
beginning, when the line was away, when sequences do not join, and when it has been quiet for some time.
A consumer for each job costs the server two to three times as much (docs/decisions/014).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple, Self

from bus.audio import audio_subject, feed_subject
from bus.stream import Bus
from bus.wire import Wire

MOST_WAITING = 512
"""Messages of one job that wait for their reader; of what is more, the stream is read when the reader has time."""

_QUIET = 4.0
_QUIETEST = 32.0
_BATCH = 256
_AT_ONCE = 16


class Entry(NamedTuple):
    """A message as it is stored."""

    seq: int
    data: bytes


class Feed:
    """The audio of many jobs over one connection; an async context manager."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._wire = Wire(bus)
        self._followers: set[_Follower] = set()
        self._reading = asyncio.Semaphore(_AT_ONCE)  # after a restart of the server all want to read at once

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        self._wire.reconnected.add(self._reconnected)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._watching.cancel()
        await self._wire.__aexit__(*exc)

    async def follow(self, job: str, *, after: int = 0) -> AsyncGenerator[list[Entry], None]:
        """Yield the audio messages of a job behind sequence `after`, some at a time: each once, in order, no gap."""
        subject, position = audio_subject(job), after
        follower = _Follower()
        sid = self._wire.subscribe(feed_subject(job), follower.hear)
        self._followers.add(follower)
        try:
            await self._wire.flushed()
            while True:
                if follower.missed:
                    follower.begin_again()
                    async with self._reading, aclosing(read_stored(self._bus, job, position)) as stored:
                        async for entries in stored:
                            position = entries[-1].seq
                            yield entries
                entries = follower.take(position)
                if entries:
                    position = entries[-1].seq
                    yield entries
                elif not follower.missed:
                    await follower.something()
                    if follower.quiet and not follower.waiting:
                        last = await self._bus.last_raw(subject)
                        follower.missed |= last is not None and last.seq > position
        finally:
            self._followers.discard(follower)
            self._wire.unsubscribe(sid)

    def _reconnected(self) -> None:
        for follower in self._followers:
            follower.miss()

    async def _watch(self) -> None:
        """The last message before a silence may be the one that was not told."""
        while True:
            await asyncio.sleep(1)
            for follower in self._followers:
                follower.grow_quiet(1)


async def read_stored(bus: Bus, job: str, after: int) -> AsyncGenerator[list[Entry], None]:
    """Yield the audio messages of a job that the stream has now behind sequence `after`, some at a time, in order."""
    entries: list[Entry] = []
    async with aclosing(bus.read("AUDIO", audio_subject(job), after=after, live=False)) as stored:
        async for raw in stored:
            entries.append(Entry(raw.seq, raw.data))
            if len(entries) == _BATCH:
                yield entries
                entries = []
    if entries:
        yield entries


class _Follower:
    """One job's messages on their way to who follows it."""

    def __init__(self) -> None:
        self.missed = True
        """Whether the stream has to be read."""
        self.quiet = False
        """Whether it has been so quiet that the last message may have been missed."""
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._awake: asyncio.Future[None] | None = None
        self._silence, self._patience = 0.0, _QUIET

    @property
    def waiting(self) -> int:
        """Messages that wait to be taken."""
        return len(self._messages)

    def hear(self, _subject: bytes, headers: bytes, data: bytes) -> None:
        """Take a message from the feed."""
        if len(self._messages) < MOST_WAITING:
            self._messages.append((headers, data))
        else:
            self.missed = True
        self._wake()

    def miss(self) -> None:
        """Something may have been missed."""
        self.missed = True
        self._wake()

    def begin_again(self) -> None:
        """The stream is about to be read: what waits will be found there."""
        self.missed, self.quiet = False, False
        self._messages.clear()

    def take(self, position: int) -> list[Entry]:
        """What follows on the message with sequence `position`, up to where something is missing."""
        entries: list[Entry] = []
        messages = self._messages
        while messages:
            headers, data = messages.popleft()
            seq = _number(headers, _SEQUENCE)
            if seq <= position:
                continue
            if _number(headers, _LAST) > position:
                self.missed = True
                break
            entries.append(Entry(seq, data))
            position = seq
        if entries:
            self._silence, self._patience = 0.0, _QUIET
        return entries

    async def something(self) -> None:
        """Wait for a message, or for a reason to look after one."""
        self.quiet = False
        if self._messages or self.missed:
            return
        self._awake = asyncio.get_running_loop().create_future()
        try:
            await self._awake
        finally:
            self._awake = None

    def grow_quiet(self, seconds: float) -> None:
        """So much time has passed."""
        self._silence += seconds
        if self._silence >= self._patience and self._awake is not None:
            self._silence, self._patience = 0.0, min(self._patience * 2, _QUIETEST)
            self.quiet = True
            self._wake()

    def _wake(self) -> None:
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(None)


_SEQUENCE = b"\r\nNats-Sequence: "
_LAST = b"\r\nNats-Last-Sequence: "


def _number(headers: bytes, name: bytes) -> int:
    at = headers.find(name)
    if at < 0:
        raise ValueError(f"a message of the feed has no {name.decode().strip()}: {headers!r}")
    at += len(name)
    return int(headers[at : headers.index(b"\r\n", at)])
