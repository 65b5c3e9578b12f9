"""The audio of live jobs as it is stored, without a consumer for each job.

The stream republishes each message that it stores on `feed.<job>`, at most once, with its sequence and that of the
job's message before it. So a reader notices when a message is missing and reads the stream instead: at the beginning,
after a lost connection, when sequences do not join, and after some time of silence.
A consumer for each job would cost the server two to three times as much (docs/decisions/014).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Self

from bus.fast_client import FastClient
from bus.streams import Bus
from bus.supervisor import Supervisor
from contract import Message
from contract.audio import audio_subject, feed_subject, is_sound

MAX_WAITING = 512
"""Messages of one job that may wait for its handler. Further ones are dropped and later read from the stream."""

READ_DELAY = 0.025
"""Seconds between two reads of the socket when there are many jobs: each wake-up finds cold CPU caches."""

STRIDE = 1_920
"""Bytes of one job's audio, 60 ms, to handle at a time when there are many jobs, for the same reason. Twice as many
jobs double it, up to four times."""

_MAX_STRIDES = 4
_SHORTEST_SILENCE = 4.0
_LONGEST_SILENCE = 32.0
_READS_AT_ONCE = 16

Work = Coroutine[None, None, bool]
"""Has to be awaited before the next message is handled; returns True at the end of the audio."""

StoredAudio = tuple[int, bytes]
"""A message's sequence and payload."""

Handler = Callable[[list[StoredAudio]], Work | None]
"""Handles consecutive messages. Most need no waiting, and so no task switch: None."""


class Feed:
    """The audio of many jobs over one connection; an async context manager.

    many: from this number of jobs on, audio is read every `READ_DELAY` seconds and handled in strides; with fewer jobs,
    as it comes.
    """

    def __init__(self, bus: Bus, many: int = 100) -> None:
        self._bus = bus
        self._many = many
        self._client = FastClient(bus.connection)
        self._tasks = Supervisor()
        self._followers: set[_Follower] = set()
        self._reading = asyncio.Semaphore(_READS_AT_ONCE)  # after a restart of the server all jobs read at once

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._client.reconnected.add(self._reconnected)
        await self._tasks.__aenter__()
        self._tasks.start(self._watch(), name="watch the feed")
        return self

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        try:
            await self._tasks.__aexit__(kind, exc, traceback)
        finally:
            await self._client.__aexit__(kind, exc, traceback)

    async def follow(self, job: str, handle: Handler, *, after: int = 0) -> None:
        """Call `handle` with each audio message of a job behind sequence `after`: once, in order, with no gap.

        Ends with the first work that returns True, or raises what `handle` or its work raises. Sound may wait up to a
        second for more sound; any other message is handled at once.
        """
        subject = audio_subject(job)
        follower = _Follower(handle, after)
        sid = self._client.subscribe(feed_subject(job), follower.on_message)
        self._followers.add(follower)
        self._set_pace()
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
            self._set_pace()
            self._client.unsubscribe(sid)
            follower.close()

    def publish(self, message: Message) -> None:
        """Publish a message that no stream stores; it is lost if there is no connection."""
        self._client.publish(message.subject, message.encode())

    def _set_pace(self) -> None:
        times = min(len(self._followers) // self._many, _MAX_STRIDES)
        self._client.read_delay = READ_DELAY if times else 0.0
        for follower in self._followers:
            follower.stride = times * STRIDE

    async def _catch_up(self, follower: _Follower, subject: str) -> bool:
        """Handle what the stream has now; returns whether that was the end of the audio."""
        stored = self._bus.read("AUDIO", subject, after=follower.position, live=False)
        async with self._reading, aclosing(stored):
            async for raw in stored:
                work = follower.handle([(raw.seq, raw.data)])
                if work is not None and await work:
                    return True
        return False

    def _reconnected(self) -> None:
        for follower in self._followers:
            follower.miss()

    async def _watch(self) -> None:
        """Have silent jobs look at the stream: the last message before the silence may have been lost."""
        while True:
            await asyncio.sleep(1)
            for follower in self._followers:
                follower.on_tick(1)


class _Follower:
    """One job's messages on their way to its handler."""

    def __init__(self, handler: Handler, position: int) -> None:
        self.position = position
        """Sequence of the last message that was handled."""
        self.missed = True
        """Whether the stream has to be read."""
        self.quiet = False
        """Whether it has been silent for so long that the last message may have been missed."""
        self.stride = 0
        """Bytes of sound to collect before handling them."""
        self._handler = handler
        self._work: Work | None = None
        self._error: Exception | None = None
        self._messages: list[tuple[bytes, bytes]] = []
        self._bytes = 0  # of `_messages`
        self._waiting: asyncio.Future[None] | None = None  # set while there is no work
        self._active = False  # since the last tick
        self._silence, self._check_after = 0.0, _SHORTEST_SILENCE

    @property
    def waiting(self) -> int:
        """Number of messages that wait to be handled."""
        return len(self._messages)

    def on_message(self, _subject: bytes, headers: bytes, data: bytes) -> None:
        """Take a message from the feed."""
        if len(self._messages) >= MAX_WAITING:
            self.missed = True
            return
        self._messages.append((headers, data))
        self._bytes += len(data)
        if self._bytes >= self.stride or not is_sound(data):
            self._handle_if_idle()

    def miss(self) -> None:
        """Note that messages may have been missed."""
        self.missed = True
        self._wake()

    def restart(self) -> None:
        """Forget the waiting messages: the stream is about to be read, and has them."""
        self.missed = False
        self._messages.clear()
        self._bytes = 0

    def handle(self, stored: list[StoredAudio]) -> Work | None:
        """Pass the next messages to the handler."""
        self.position = stored[-1][0]
        return self._handler(stored)

    async def work(self) -> bool:
        """Do the pending work and handle what came meanwhile, up to a missing message; returns True at the end."""
        while True:
            if self._error is not None:
                raise self._error
            work, self._work = self._work, None
            if work is not None and await work:
                return True
            if not self._messages or self.missed:
                return False
            self._work = self._handle_waiting()

    async def wait_for_work(self) -> None:
        """Return once there is work, or a reason to look at the stream."""
        self.quiet = False
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def on_tick(self, seconds: float) -> None:
        """Note that time has passed."""
        self._handle_if_idle()
        if self._active:
            self._active, self._silence, self._check_after = False, 0.0, _SHORTEST_SILENCE
        self._silence += seconds
        if self._silence >= self._check_after:
            self._silence, self._check_after = 0.0, min(self._check_after * 2, _LONGEST_SILENCE)
            self.quiet = True
            self._wake()

    def close(self) -> None:
        """Drop work that was not begun."""
        if self._work is not None:
            self._work.close()

    def _handle_if_idle(self) -> None:
        """Handle the waiting messages, unless work is pending that has to be done first."""
        if self._waiting is None or self._waiting.done():
            return
        try:
            self._work = self._handle_waiting()
        except Exception as exc:  # noqa: BLE001 - raised by `work`: it ends this job, not the connection of all jobs
            self._error = exc
        if self._work is not None or self._error is not None or self.missed:
            self._wake()

    def _handle_waiting(self) -> Work | None:
        """Handle the waiting messages, up to the first that does not follow on the one before."""
        position, stored = self.position, []
        for headers, data in self._messages:
            found = _SEQUENCES(headers)
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
        return self.handle(stored)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


_SEQUENCES = re.compile(rb"\r\nNats-Sequence: (\d+)\r\n(?:.*\r\n)*?Nats-Last-Sequence: (\d+)").search
