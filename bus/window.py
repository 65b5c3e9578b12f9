"""Go-back-N, the sender's side: what has been sent and is not known to be stored. Pure.

Frames are published without waiting for each other's acknowledgement, so frame n can be refused and n + 1 be stored.
Therefore only the contiguous watermark counts, and after any refusal or silence everything from there is sent again.
Each sending of a frame has its own token; an ack of an earlier sending says nothing about the current one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MOST_FRAMES = 32
"""Frames of one job that may be on their way: one second of 30 ms frames."""

MOST_BYTES = 32_768
"""Bytes in these frames; the last one may reach beyond."""


@dataclass(slots=True)
class _Frame:
    token: int
    end: int
    payload: bytes
    stored: bool = False


class Window:
    """Unacknowledged frames of one job, in order, bounded in number and size."""

    def __init__(self, start: int, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self.stored = start
        """All audio below this sample index is stored."""
        self.sent = start
        """Index of the first sample not yet given to `push`."""
        self.refused = False
        """A frame came back: nothing advances before `resend`."""
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._bytes = 0
        self._frames: deque[_Frame] = deque()
        self._next_token = 0

    @property
    def full(self) -> bool:
        """Whether `push` must wait."""
        return len(self._frames) >= self._most_frames or self._bytes >= self._most_bytes

    @property
    def empty(self) -> bool:
        """Whether all that was pushed is stored."""
        return not self._frames

    def push(self, end: int, payload: bytes) -> int:
        """Take a frame that ends before sample `end`; returns the token to publish it with."""
        self.sent = end
        frame = _Frame(self._token(), end, payload)
        self._frames.append(frame)
        self._bytes += len(payload)
        return frame.token

    def ack(self, token: int) -> bool:
        """A sending was stored; whether the watermark moved."""
        frame = self._find(token)
        if frame is None or self.refused:
            return False
        frame.stored = True
        moved = False
        while self._frames and self._frames[0].stored:
            frame = self._frames.popleft()
            self.stored = frame.end
            self._bytes -= len(frame.payload)
            moved = True
        return moved

    def refuse(self, token: int) -> None:
        """A sending was refused; one of a past round is no news."""
        if self._find(token) is not None:
            self.refused = True

    def lose(self) -> None:
        """Whatever is under way may not have arrived."""
        self.refused = not self.empty

    def resend(self) -> list[tuple[int, bytes]]:
        """All (token, payload) from the watermark on, with new tokens, to be published in this order."""
        self.refused = False
        for frame in self._frames:
            frame.token, frame.stored = self._token(), False
        return [(frame.token, frame.payload) for frame in self._frames]

    def _token(self) -> int:
        self._next_token += 1
        return self._next_token - 1

    def _find(self, token: int) -> _Frame | None:
        # Tokens of the current round are consecutive, so that the position follows from the token.
        if not self._frames or not 0 <= token - self._frames[0].token < len(self._frames):
            return None
        return self._frames[token - self._frames[0].token]
