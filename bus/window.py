"""Go-back-N, the sender's side: what has been sent and is not known to be stored. Pure.

What is taken together becomes one message, because what a message costs hardly depends on its length. Messages are sent
without waiting for each other's acknowledgement, so message n can be refused and n + 1 be stored. Therefore only the
contiguous watermark counts, and after any refusal or silence everything from there is sent again. Each sending of a
message has its own token; an ack of an earlier sending says nothing about the current one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from itertools import accumulate

from contract import WIDTH

MAX_MESSAGES = 32
"""Messages of one job that may be on their way: one second of 30 ms frames."""

MAX_BYTES = 32_768
"""Bytes of sound in them; what is taken last may reach beyond."""

MAX_MESSAGE_BYTES = 7_680
"""Bytes of sound in one message at most, 240 ms: a longer one costs hardly less, and is taken in larger steps. One that
comes in one piece stays in one."""


Message = tuple[int, int, bytes]
"""Its token, the index of the first sample after it, its sound."""

_NONE: Set[int] = frozenset()


class Window:
    """Unacknowledged sound of one job, in order, bounded in messages and bytes.

    Tokens of one round are consecutive, so that a message's place follows from its token, and what can be told from
    something else is not kept: among many jobs each object of one is found in no cache.
    """

    __slots__ = (
        "_early",
        "_first",
        "_max_messages",
        "_max_samples",
        "_sounds",
        "refused",
        "sent",
        "stored",
    )

    def __init__(self, start: int, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.stored = start
        """All audio below this sample index is stored."""
        self.sent = start
        """Index of the first sample not yet given to `push`."""
        self.refused = False
        """A message came back: nothing advances before `resend`."""
        self._max_messages = max_messages
        self._max_samples = max_bytes // WIDTH
        self._sounds: deque[bytes] = deque()  # of each message
        self._first = 0  # token of the oldest one
        self._early = _NONE  # tokens of messages that are stored behind one that is not

    @property
    def full(self) -> bool:
        """Whether `push` must wait."""
        return self.sent - self.stored >= self._max_samples or len(self._sounds) >= self._max_messages

    @property
    def empty(self) -> bool:
        """Whether all that was pushed is stored."""
        return not self._sounds

    def push(self, sound: Sequence[bytes]) -> tuple[list[Message], Sequence[bytes]]:
        """Make messages of the sound that follows, mostly one; also gives what of it there is no room for."""
        messages: list[Message] = []
        while sound:
            room = self._max_samples - (self.sent - self.stored)
            if room <= 0 or len(self._sounds) >= self._max_messages:
                break
            pcm, rest = b"".join(sound), sound[:0]
            most = min(MAX_MESSAGE_BYTES, WIDTH * room)
            if len(pcm) > most:
                pieces = max(1, sum(total <= most for total in accumulate(map(len, sound))))
                pcm, rest = b"".join(sound[:pieces]), sound[pieces:]
            sound = rest
            if pcm:
                self.sent += len(pcm) // WIDTH
                messages.append((self._first + len(self._sounds), self.sent, pcm))
                self._sounds.append(pcm)
        return messages, sound

    def ack(self, token: int) -> bool:
        """A sending was stored; whether the watermark moved."""
        sounds = self._sounds
        if token != self._first or self.refused or not sounds:
            if not self.refused and self._first < token < self._first + len(sounds):
                self._early |= {token}
            return False
        while True:
            self.stored += len(sounds.popleft()) // WIDTH
            self._first += 1
            if not self._early or self._first not in self._early:
                return True
            self._early -= {self._first}

    def refuse(self, token: int) -> None:
        """A sending was refused; one of a past round is no news."""
        if self._first <= token < self._first + len(self._sounds):
            self.refused = True

    def mark_lost(self) -> None:
        """Whatever is under way may not have arrived."""
        self.refused = not self.empty

    def resend(self) -> list[Message]:
        """All messages from the watermark on, with new tokens, to be published in this order."""
        self.refused = False
        self._early = _NONE
        self._first += len(self._sounds)
        ends = accumulate((len(pcm) // WIDTH for pcm in self._sounds), initial=self.stored)
        next(ends)
        return list(zip(range(self._first, self._first + len(self._sounds)), ends, self._sounds, strict=True))
