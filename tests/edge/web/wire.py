"""What a page sends over its WebSockets: all of the sound, without a gap."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page, WebSocket

WIDTH = 2


@dataclass
class Connection:
    """One connection: the sample at which it began, and what was sent."""

    start: int | None = None
    pcm: bytearray = field(default_factory=bytearray)
    frames: list[int] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Wire:
    """All connections of a page, also after a reload."""

    def __init__(self, page: Page) -> None:
        self.connections: list[Connection] = []
        page.on("websocket", self._opened)

    @property
    def accepted(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.start is not None]

    def sound(self) -> bytes:
        """The sound that was sent on all connections together; what was sent twice must be the same."""
        sound = bytearray()
        for connection in self.accepted:
            assert connection.start is not None
            first = connection.start * WIDTH
            assert first <= len(sound), f"nothing was sent of samples {len(sound) // WIDTH} to {connection.start}"
            again = min(len(sound) - first, len(connection.pcm))
            assert sound[first : first + again] == connection.pcm[:again], "other sound was sent again"
            sound += connection.pcm[again:]
        return bytes(sound)

    def _opened(self, socket: WebSocket) -> None:
        connection = Connection()
        self.connections.append(connection)

        def sent(data: str | bytes) -> None:
            if isinstance(data, str):
                connection.commands.append(json.loads(data)["command"])
            else:
                connection.pcm += data
                connection.frames.append(len(data))

        def received(data: str | bytes) -> None:
            message = json.loads(data)
            connection.received.append(message)
            if message["type"] == "connection_success":
                connection.start = message["next_sample"]

        socket.on("framesent", sent)
        socket.on("framereceived", received)
