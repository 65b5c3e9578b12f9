"""The audio of live jobs as it is stored, without a consumer for each of them.

The stream tells each message that it has stored on `feed.<job>`, at most once, with its sequence and with that of the
job's message before it. So whoever listens knows when something is missing, and reads it from the stream: at the
beginning, when the line was away, when sequences do not join, and when it has been quiet for some time.
A consumer for each job costs the server two to three times as much (docs/decisions/014).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Self

from bus.fast_client import FastClient
from bus.stream import Bus
from contract import Message
from contract.audio import audio_subject, feed_subject, is_sound

MAX_WAITING = 512
"""Messages of one job that wait for their reader; of what is more, the stream is read when the reader has time."""

READ_DELAY = 0.025
"""Seconds that a reader of many jobs leaves what comes where it is: a wake-up finds cold caches, whatever it brings."""

STRIDE = 1_920
"""Bytes of sound of one job, 60 ms, that a reader of many jobs takes at a time: no job is in any cache, either. A
reader of twice as many takes twice as much, up to four times."""

_MOST_STRIDES = 4
_SHORTEST_SILENCE = 4.0
_LONGEST_SILENCE = 32.0
_AT_ONCE = 16

Work = Coroutine[None, None, bool]
"""What has to be done before the next message; True: and that is the end."""

StoredAudio = tuple[int, bytes]
"""A message: its sequence and its payload."""

Handler = Callable[[list[StoredAudio]], Work | None]
"""Takes messages that follow on each other. Most need no waiting, and so no task switch: None."""


class Feed:
    """The audio of many jobs over one connection; an async context manager.

    many: from this number of jobs on, audio is read every `READ_DELAY` seconds and handled in strides, below it as it
    comes.
    """

    def __init__(self, bus: Bus, many: int = 100) -> None:
        self._bus = bus
        self._many = many
        self._client = FastClient(bus)
        self._followers: set[_Follower] = set()
        self._reading = asyncio.Semaphore(_AT_ONCE)  # after a restart of the server all want to read at once

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._client.reconnected.add(self._reconnected)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._watching.cancel()
        await self._client.__aexit__(*exc)

    async def follow(self, job: str, handle: Handler, *, after: int = 0) -> None:
        """Have `handle` take each audio message of a job behind sequence `after`: once, in order, no gap.

        Ends with the first work that returns True, or raises what `handle` or its work raises. Sound may wait up to a
        second for more sound; any other message is handled at once.
        """
        subject = audio_subject(job)
        follower = _Follower(handle, after)
        sid = self._client.subscribe(feed_subject(job), follower.on_message)
        self._followers.add(follower)
        self._adapt()
        try:
            await self._client.flushed()
            while True:
                if follower.missed:
                    follower.restart()
                    if await self._catch_up(follower, subject):
                        return
                if await follower.work():
                    return
                if not follower.missed:
                    await follower.wait_for_work()
                    if follower.quiet and (last := await self._bus.last_raw(subject)) is not None:
                        follower.missed |= last.seq > follower.position
        finally:
            self._followers.discard(follower)
            self._adapt()
            self._client.unsubscribe(sid)
            follower.close()

    def publish(self, message: Message) -> None:
        """Publish something that no stream keeps; at once, and lost where the line is away."""
        self._client.publish(message.subject, message.encode())

    def _adapt(self) -> None:
        times = min(len(self._followers) // self._many, _MOST_STRIDES)
        self._client.read_delay = READ_DELAY if times else 0.0
        for follower in self._followers:
            follower.stride = times * STRIDE

    async def _catch_up(self, follower: _Follower, subject: str) -> bool:
        """Read what the stream has now; whether that was the end."""
        stored = self._bus.read("AUDIO", subject, after=follower.position, live=False)
        async with self._reading, aclosing(stored):
            async for raw in stored:
                work = follower.take([(raw.seq, raw.data)])
                if work is not None and await work:
                    return True
        return False

    def _reconnected(self) -> None:
        for follower in self._followers:
            follower.miss()

    async def _watch(self) -> None:
        """The last message before a silence may be the one that was not told."""
        while True:
            await asyncio.sleep(1)
            for follower in self._followers:
                follower.on_tick(1)


class _Follower:
    """One job's messages on their way to who follows it."""

    def __init__(self, handle: Handler, position: int) -> None:
        self.position = position
        """Sequence of the last message that was taken."""
        self.missed = True
        """Whether the stream has to be read."""
        self.quiet = False
        """Whether it has been so quiet that the last message may have been missed."""
        self.stride = 0
        """Bytes of sound that are worth being heard."""
        self._handle = handle
        self._work: Work | None = None
        self._error: Exception | None = None
        self._messages: list[tuple[bytes, bytes]] = []
        self._bytes = 0  # of them
        self._awake: asyncio.Future[None] | None = None  # there while nothing is being done
        self._active = False  # since somebody last looked
        self._silence, self._check_after = 0.0, _SHORTEST_SILENCE

    @property
    def waiting(self) -> int:
        """Messages that wait to be taken."""
        return len(self._messages)

    def on_message(self, _subject: bytes, headers: bytes, data: bytes) -> None:
        """Take a message from the feed."""
        if len(self._messages) >= MAX_WAITING:
            self.missed = True
            return
        self._messages.append((headers, data))
        self._bytes += len(data)
        if self._bytes >= self.stride or not is_sound(data):
            self._take_if_waiting()

    def miss(self) -> None:
        """Something may have been missed."""
        self.missed = True
        self._wake()

    def restart(self) -> None:
        """The stream is about to be read: what waits will be found there."""
        self.missed = False
        self._messages.clear()
        self._bytes = 0

    def take(self, stored: list[StoredAudio]) -> Work | None:
        """Take the messages that are next."""
        self.position = stored[-1][0]
        return self._handle(stored)

    async def work(self) -> bool:
        """Do what is to be done, and take what came meanwhile, up to where something is missing; True: at the end."""
        while True:
            if self._error is not None:
                raise self._error
            work, self._work = self._work, None
            if work is not None and await work:
                return True
            if not self._messages or self.missed:
                return False
            self._work = self._join()

    async def wait_for_work(self) -> None:
        """Wait for work, or for a reason to look after some."""
        self.quiet = False
        self._awake = asyncio.get_running_loop().create_future()
        try:
            await self._awake
        finally:
            self._awake = None

    def on_tick(self, seconds: float) -> None:
        """So much time has passed."""
        self._take_if_waiting()
        if self._active:
            self._active, self._silence, self._check_after = False, 0.0, _SHORTEST_SILENCE
        self._silence += seconds
        if self._silence >= self._check_after:
            self._silence, self._check_after = 0.0, min(self._check_after * 2, _LONGEST_SILENCE)
            self.quiet = True
            self._wake()

    def close(self) -> None:
        """Forget what was not done."""
        if self._work is not None:
            self._work.close()

    def _take_if_waiting(self) -> None:
        """Take what waits, if nothing is being done that must be done first."""
        if self._awake is None or self._awake.done():
            return
        try:
            self._work = self._join()
        except Exception as exc:  # noqa: BLE001 - of this job; the connection is that of all
            self._error = exc
        if self._work is not None or self._error is not None or self.missed:
            self._wake()

    def _join(self) -> Work | None:
        """Take what waits, as far as it follows on the last message."""
        position, stored = self.position, []
        for headers, data in self._messages:
            found = _PLACE(headers)
            if found is None:
                raise ValueError(f"a message of the feed has no Nats-Sequence and Nats-Last-Sequence: {headers!r}")
            seq, last = map(int, found.groups())
            if seq > position:
                if last > position:
                    self.missed = True
                    break
                position = seq
                stored.append((seq, data))
        self._messages.clear()
        self._bytes = 0
        if not stored:
            return None
        self._active = True
        return self.take(stored)

    def _wake(self) -> None:
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(None)


_PLACE = re.compile(rb"\r\nNats-Sequence: (\d+)\r\n(?:.*\r\n)*?Nats-Last-Sequence: (\d+)").search
