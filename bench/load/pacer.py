"""One clock for all clients of a process: it hands over what is due, a thousand times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from bench.load.report import Lateness

TICK = 0.001
"""Seconds; no timer of the event loop is finer. Frames that are due in the same tick go out back to back."""

Send = Callable[[], None]


class Pacer:
    """Calls each `send` once in the time of a frame, spread over that time as evenly as ticks allow.

    phase: share of a tick by which the clock is behind those of other processes.
    """

    def __init__(self, frame_ms: int, phase: float = 0.0) -> None:
        self.late = Lateness()
        self.frames = 0
        self._phase = phase
        self._turns: list[tuple[Send, ...]] = [()] * frame_ms

    def add(self, place: int, send: Send) -> None:
        """From now on; `place` says which phase of a frame it has."""
        turn = place % len(self._turns)
        self._turns[turn] = (*self._turns[turn], send)

    def remove(self, place: int, send: Send) -> None:
        """No longer."""
        turn = place % len(self._turns)
        self._turns[turn] = tuple(other for other in self._turns[turn] if other != send)

    async def run(self) -> None:
        """Without end."""
        start, tick = monotonic() + self._phase * TICK, 0
        while True:
            due = start + tick * TICK
            if (wait := due - monotonic()) > 0:
                await asyncio.sleep(wait)
            elif tick % 50 == 0:
                await asyncio.sleep(0)  # behind by much: what the server says must be read all the same
            turn = self._turns[tick % len(self._turns)]
            if turn:
                for send in turn:
                    send()
                self.frames += len(turn)
                self.late.add(monotonic() - due, len(turn))
            tick += 1
