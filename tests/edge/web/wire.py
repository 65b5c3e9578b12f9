"""What a page says over its WebSockets, and whether it is all of the sound, once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page, WebSocket

WIDTH = 2


@dataclass
class Line:
    """One connection: the sample at which it went on, and the sound that it was given."""

    start: int | None = None
    pcm: bytearray = field(default_factory=bytearray)
    frames: list[int] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Wire:
    """All connections of a page, also after it was loaded again."""

    def __init__(self, page: Page) -> None:
        self.lines: list[Line] = []
        page.on("websocket", self._opened)

    @property
    def welcomed(self) -> list[Line]:
        return [line for line in self.lines if line.start is not None]

    def sound(self) -> bytes:
        """What was sent on all connections, put together; what was sent twice must be the same."""
        sound = bytearray()
        for line in self.welcomed:
            assert line.start is not None
            first = line.start * WIDTH
            assert first <= len(sound), f"nothing was sent of samples {len(sound) // WIDTH} to {line.start}"
            again = min(len(sound) - first, len(line.pcm))
            assert sound[first : first + again] == line.pcm[:again], "other sound was sent again"
            sound += line.pcm[again:]
        return bytes(sound)

    def _opened(self, socket: WebSocket) -> None:
        line = Line()
        self.lines.append(line)

        def sent(data: str | bytes) -> None:
            if isinstance(data, str):
                line.commands.append(json.loads(data)["command"])
            else:
                line.pcm += data
                line.frames.append(len(data))

        def received(data: str | bytes) -> None:
            message = json.loads(data)
            line.told.append(message)
            if message["type"] == "connection_success":
                line.start = message["next_sample"]

        socket.on("framesent", sent)
        socket.on("framereceived", received)
