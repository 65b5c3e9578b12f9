"""What picows reads, less the whole binary frames: in its place, because they need neither its buffer nor its objects.

picows reads into a buffer of each connection, which is in no cache by the time; uvloop has one for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from edge.capture.frames import whole_frames


class Reading(asyncio.Protocol):
    """Stands between a transport and picows' protocol, once `transport.set_protocol` was called with it."""

    __slots__ = ("_hear", "_picows", "between_frames")

    def __init__(self, picows: Any, hear: Callable[[list[bytes]], None]) -> None:
        """picows: its `asyncio.BufferedProtocol`. hear: is handed the messages that picows is not, as they came."""
        self.between_frames = False
        """Whether picows waits for the beginning of a message. It says so, and something else goes to it then."""
        self._picows = picows
        self._hear = hear

    def data_received(self, data: bytes) -> None:
        """As of `asyncio.Protocol`."""
        at = 0
        if self.between_frames:
            messages, at = whole_frames(data)
            if messages:
                self._hear(messages)
            if at == len(data):
                return
        self.between_frames = False
        rest = memoryview(data)[at:]
        while rest:
            buffer = self._picows.get_buffer(len(rest))
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            rest = rest[size:]
            self._picows.buffer_updated(size)

    def eof_received(self) -> bool | None:
        """As of `asyncio.Protocol`."""
        keep_open: bool | None = self._picows.eof_received()
        return keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """As of `asyncio.Protocol`."""
        self._picows.connection_lost(exc)

    def pause_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        self._picows.pause_writing()

    def resume_writing(self) -> None:
        """As of `asyncio.Protocol`."""
        self._picows.resume_writing()
