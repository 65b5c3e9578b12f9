"""Go-back-N, the sender's side: what has been sent and is not known to be stored. Pure.

What is taken before there is time to send it becomes one message, because what a message costs hardly depends on its
length. Messages are sent without waiting for each other's acknowledgement, so message n can be refused and n + 1 be
stored. Therefore only the contiguous watermark counts, and after any refusal or silence everything from there is sent
again. Each sending of a message has its own token; an ack of an earlier sending says nothing about the current one.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate

from bus.messages import WIDTH

MOST_MESSAGES = 32
"""Messages of one job that may be on their way: one second of 30 ms frames."""

MOST_BYTES = 32_768
"""Bytes of sound in them and before them; what is taken last may reach beyond."""

MESSAGE_BYTES = 7_680
"""Bytes of sound in one message at most, 240 ms: a longer one costs hardly less, and is taken in larger steps. One that
comes in one piece stays in one."""


class Window:
    """Unacknowledged sound of one job, in order, bounded in messages and bytes.

    Tokens of one round are consecutive, so that a message's place follows from its token, and no object is made for it.
    Messages are given as (token, end, pcm): `end` is the index of the first sample after it.
    """

    # Beyond 30 attributes an instance would have a dict of its own, and each access would be looked up in it.
    __slots__ = (
        "_assigned",
        "_early",
        "_ends",
        "_first",
        "_most_messages",
        "_most_samples",
        "_next",
        "_sounds",
        "_taken",
        "refused",
        "sent",
        "stored",
    )

    def __init__(self, start: int, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES) -> None:
        self.stored = start
        """All audio below this sample index is stored."""
        self.sent = start
        """Index of the first sample not yet given to `take`."""
        self.refused = False
        """A message came back: nothing advances before `resend`."""
        self._most_messages = most_messages
        self._most_samples = most_bytes // WIDTH
        self._taken: list[bytes] = []
        self._assigned = start  # index of the first sample that is in no message yet
        self._ends: deque[int] = deque()
        self._sounds: deque[bytes] = deque()
        self._first = 0  # token of the oldest message
        self._next = 0
        self._early: set[int] = set()  # tokens of messages that are stored behind one that is not

    @property
    def full(self) -> bool:
        """Whether `take` must wait."""
        return self.sent - self.stored >= self._most_samples or len(self._ends) >= self._most_messages

    @property
    def empty(self) -> bool:
        """Whether all that was taken is stored."""
        return self.sent == self.stored

    def take(self, pcm: bytes) -> bool:
        """Take the sound that follows, not empty; whether `pack` has to be called, sooner or later."""
        self.sent += len(pcm) // WIDTH
        self._taken.append(pcm)
        return len(self._taken) == 1

    def pack(self) -> list[tuple[int, int, bytes]]:
        """Make messages of what was taken, mostly one."""
        taken, messages = self._taken, []
        while taken:
            pieces = len(taken)
            if self.sent - self._assigned > MESSAGE_BYTES // WIDTH:
                sizes = accumulate(map(len, taken))
                pieces = max(1, sum(size <= MESSAGE_BYTES for size in sizes))
            messages.append(self._push(b"".join(taken[:pieces])))
            del taken[:pieces]
        return messages

    def _push(self, pcm: bytes) -> tuple[int, int, bytes]:
        self._assigned += len(pcm) // WIDTH
        self._ends.append(self._assigned)
        self._sounds.append(pcm)
        self._next += 1
        return self._next - 1, self._assigned, pcm

    def ack(self, token: int) -> bool:
        """A sending was stored; whether the watermark moved."""
        if token != self._first or self.refused or not self._ends:
            if not self.refused and self._first < token < self._next:
                self._early.add(token)
            return False
        while True:
            self.stored = self._ends.popleft()
            self._sounds.popleft()
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
        self.refused = bool(self._ends)

    def resend(self) -> list[tuple[int, int, bytes]]:
        """All messages from the watermark on, with new tokens, to be published in this order."""
        self.pack()  # or it would be sent before what comes before it
        self.refused = False
        self._early.clear()
        self._first, self._next = self._next, self._next + len(self._ends)
        return list(zip(range(self._first, self._next), self._ends, self._sounds, strict=True))
