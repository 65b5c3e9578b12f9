"""What a client sends, handled in order, with back-pressure on the connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol


class Connection(Protocol):
    """An open WebSocket. Once it is closed, every method does nothing."""

    async def send(self, text: str) -> None:
        """Send a text message; waits while the client does not read."""

    @property
    def ready(self) -> bool:
        """Whether it is open and the client reads."""

    def offer(self, text: str) -> bool:
        """Send a text message if `ready`; returns whether it was sent."""

    async def close(self, code: int, reason: str) -> None:
        """Close behind what was sent; later messages of the client are ignored."""

    def pause(self) -> None:
        """Stop reading; what has been read already may still be delivered."""

    def resume(self) -> None:
        """Read again."""

    def await_bytes(self, count: int) -> None:
        """Do not wake up before `count` bytes are there, or the end; 1: for whatever arrives."""


class Disconnected(NamedTuple):
    """The end of what a client sends, with its close code, or 1005 or 1006 where it sent none."""

    code: int


Incoming = bytes | list[bytes] | str | Disconnected
"""A message, or several binary ones that were read together."""

Pending = Coroutine[Any, Any, Any]
Handler = Callable[[Incoming], Pending | None]
"""Handles a message at once, or returns what must be awaited before the next one is handled. It must not raise."""


class ReceiveQueue:
    """Passes messages to a handler: at once, or after what is pending.

    While messages wait, the connection is paused: a client that sends too fast is slowed down by TCP.
    """

    __slots__ = ("_connection", "_handle", "_messages", "_paused", "_pending", "_start", "active", "disconnected")

    def __init__(self, connection: Connection) -> None:
        self.active = False
        """Whether anything came since this was last set to False."""
        self.disconnected = asyncio.Event()
        """Set when the client is gone, even if some of its messages still wait."""
        self._connection = connection
        self._handle: Handler | None = None
        self._start: Callable[[Pending], asyncio.Task[Any]] = asyncio.create_task
        self._pending: asyncio.Task[Any] | None = None
        self._messages: deque[Incoming] = deque()
        self._paused = False

    @property
    def busy(self) -> bool:
        """Whether something is pending."""
        return self._pending is not None

    @property
    def left_nothing(self) -> bool:
        """Whether the client has disconnected and no message of it waits."""
        return bool(self._messages) and isinstance(self._messages[0], Disconnected)

    def put(self, message: bytes | list[bytes] | str) -> None:
        """Handle a message, or keep it while something is pending."""
        self.active = True
        if self._handle is None or self._pending is not None:
            self._messages.append(message)
            self._pause()
        elif (pending := self._handle(message)) is not None:
            self._await(pending)

    def disconnect(self, code: int) -> None:
        """Nothing more will come; only the first call counts."""
        if not self.disconnected.is_set():
            self.disconnected.set()
            self._messages.append(Disconnected(code))
            self._catch_up()

    def open(self, handle: Handler, start: Callable[[Pending], asyncio.Task[Any]] = asyncio.create_task) -> None:
        """Begin to handle messages, those that wait first. `start` makes a task of what is pending and owns it."""
        self._handle, self._start = handle, start
        self._catch_up()

    def discard(self) -> None:
        """Ignore all messages from now on, also those that wait."""
        self._handle = _ignore
        self._messages.clear()
        self._catch_up()

    async def stop(self) -> None:
        """Ignore all messages and cancel what is pending."""
        self.discard()
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)

    def _await(self, pending: Pending) -> None:
        self._pending = self._start(pending)
        self._pending.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._pending = None
        if not task.cancelled() and task.exception() is not None:
            self.discard()  # `start` gave the task an owner, which gets its exception
        else:
            self._catch_up()

    def _catch_up(self) -> None:
        if self._handle is None:
            return
        while self._messages and self._pending is None:
            if (pending := self._handle(self._messages.popleft())) is not None:
                self._await(pending)
        if self._pending is None and self._paused:
            self._paused = False
            self._connection.resume()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._connection.pause()


def _ignore(_message: Incoming) -> None:
    return None
