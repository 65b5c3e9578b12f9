"""What a capture needs of a connection, whichever listener has it, and what the listener gives it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, Protocol


class Connection(Protocol):
    """A WebSocket that is open. Once it is not, all of this does nothing."""

    async def send(self, text: str) -> None:
        """Tell the client something; waits while it does not read what it was told."""

    @property
    def ready(self) -> bool:
        """Whether it is open, and the client reads."""

    def offer(self, text: str) -> bool:
        """Tell the client something if it is ready; else False, and nothing was done."""

    async def close(self, code: int, reason: str) -> None:
        """End the connection behind what was sent; what still comes from the client is passed over."""

    def pause(self) -> None:
        """Read no more; what has been read already may still come."""

    def resume(self) -> None:
        """Read on."""

    def await_bytes(self, count: int) -> None:
        """Read nothing before so many bytes have come, or the end; 1: read whatever comes, also what is there."""


class Gone(NamedTuple):
    """The last that is heard of a client: the close code that it gave, or another one where it gave none."""

    code: int


Said = bytes | list[bytes] | str | Gone
"""A message, or several binary ones that came together."""

Step = Coroutine[Any, Any, Any]
Take = Callable[[Said], Step | None]
"""Takes what was said at once, or returns what has to be awaited before anything else is taken; it does not raise."""


class Inlet:
    """What a client says, taken in order: at once, or as soon as what it has to wait for is over.

    While something waits the connection is paused, so that what a client sends too fast stays on its side.
    """

    __slots__ = ("_connection", "_paused", "_step", "_take", "_waiting", "gone", "heard")

    def __init__(self, connection: Connection) -> None:
        self.heard = False
        """Whether anything came since somebody last looked and set this to False."""
        self.gone = asyncio.Event()
        """The client is gone, whether or not all that it said has been taken."""
        self._connection = connection
        self._take: Take | None = None
        self._step: asyncio.Task[Any] | None = None
        self._waiting: deque[Said] = deque()
        self._paused = False

    @property
    def busy(self) -> bool:
        """Whether something has to be awaited before more can be taken."""
        return self._step is not None

    @property
    def deserted(self) -> bool:
        """Whether the client has left without a word."""
        return bool(self._waiting) and isinstance(self._waiting[0], Gone)

    def hear(self, said: bytes | list[bytes] | str) -> None:
        """Something came from the client."""
        self.heard = True
        if self._take is None or self._step is not None:
            self._waiting.append(said)
            self._pause()
        elif (step := self._take(said)) is not None:
            self._begin(step)

    def leave(self, code: int) -> None:
        """Nothing will come any more; only the first time counts."""
        if not self.gone.is_set():
            self.gone.set()
            self._waiting.append(Gone(code))
            self._catch_up()

    def open(self, take: Take) -> None:
        """Take from now on, beginning with what has come already."""
        self._take = take
        self._catch_up()

    def close(self) -> None:
        """Take nothing any more."""
        self._take = _pass_over
        self._waiting.clear()
        self._catch_up()

    async def stop(self) -> None:
        """Take nothing any more, and give up what is being awaited."""
        self.close()
        if self._step is not None:
            self._step.cancel()
            await asyncio.gather(self._step, return_exceptions=True)

    def _begin(self, step: Step) -> None:
        self._step = asyncio.create_task(step)
        self._step.add_done_callback(self._over)

    def _over(self, _step: asyncio.Task[Any]) -> None:
        self._step = None
        self._catch_up()

    def _catch_up(self) -> None:
        if self._take is None:
            return
        while self._waiting and self._step is None:
            if (step := self._take(self._waiting.popleft())) is not None:
                self._begin(step)
        if self._step is None and self._paused:
            self._paused = False
            self._connection.resume()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._connection.pause()


def await_bytes(transport: asyncio.BaseTransport, count: int) -> None:
    """As of `Connection`, where the system can do that."""
    with suppress(OSError, AttributeError):  # closed meanwhile, or a system that cannot
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _pass_over(_said: Said) -> None:
    return None
