"""Go-back-N, the sender's side: what has been sent and is not known to be stored. Pure.

Frames are published without waiting for each other's acknowledgement, so frame n can be refused and n + 1 be stored.
Therefore only the contiguous watermark counts, and after any refusal or silence everything from there is sent again.
Each sending of a frame has its own token; an ack of an earlier sending says nothing about the current one.
"""

from __future__ import annotations

from collections import deque

MOST_FRAMES = 32
"""Frames of one job that may be on their way: one second of 30 ms frames."""

MOST_BYTES = 32_768
"""Bytes in these frames; the last one may reach beyond."""


class Window:
    """Unacknowledged frames of one job, in order, bounded in number and size.

    Tokens of one round are consecutive, so that a frame's place follows from its token, and no object is made for it.
    """

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
        self._ends: deque[int] = deque()
        self._sounds: deque[bytes] = deque()
        self._first = 0  # token of the oldest frame
        self._next = 0
        self._early: set[int] = set()  # tokens of frames that are stored behind one that is not

    @property
    def full(self) -> bool:
        """Whether `push` must wait."""
        return len(self._ends) >= self._most_frames or self._bytes >= self._most_bytes

    @property
    def empty(self) -> bool:
        """Whether all that was pushed is stored."""
        return not self._ends

    def push(self, end: int, pcm: bytes) -> int:
        """Take a frame that ends before sample `end`; returns the token to publish it with."""
        self.sent = end
        self._ends.append(end)
        self._sounds.append(pcm)
        self._bytes += len(pcm)
        self._next += 1
        return self._next - 1

    def ack(self, token: int) -> bool:
        """A sending was stored; whether the watermark moved."""
        if token != self._first or self.refused or not self._ends:
            if not self.refused and self._first < token < self._next:
                self._early.add(token)
            return False
        while True:
            self.stored = self._ends.popleft()
            self._bytes -= len(self._sounds.popleft())
            self._first += 1
            if not self._early or self._first not in self._early:
                return True
            self._early.remove(self._first)

    def refuse(self, token: int) -> None:
        """A sending was refused; one of a past round is no news."""
        if self._first <= token < self._next:
            self.refused = True

    def lose(self) -> None:
        """Whatever is under way may not have arrived."""
        self.refused = not self.empty

    def resend(self) -> list[tuple[int, int, bytes]]:
        """All (token, end, pcm) from the watermark on, with new tokens, to be published in this order."""
        self.refused = False
        self._early.clear()
        self._first, self._next = self._next, self._next + len(self._ends)
        return list(zip(range(self._first, self._next), self._ends, self._sounds, strict=True))
