"""Go-back-N, both sides: the window of what is sent and not known to be stored, and the reassembly of what is. Pure.

The sender does not wait for one message's ack before it sends the next, so message n can be refused and n + 1 stored.
Therefore only the contiguous watermark counts, and after a refusal or silence everything from there is sent again. The
receiver may find frames repeated and out of order, and accepts only the sample that it expects next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence, Set
from itertools import accumulate

from contract import RATE, WIDTH
from contract.audio import AudioFrame

MAX_MESSAGES = 32
"""Messages of one job that may be under way: one second of 30 ms frames."""

MAX_BYTES = 32_768
"""Bytes of audio in them; the last message may exceed it."""

MAX_MESSAGE_BYTES = 7_680
"""Bytes of audio in one message, 240 ms: a longer one costs hardly less per second of audio, and would make readers
advance in larger steps. A single longer piece is not divided."""


Message = tuple[int, int, bytes]
"""Its token, the index of the first sample after it, its audio."""

_NONE: Set[int] = frozenset()


class Window:
    """Unacknowledged audio of one job, in order, bounded in messages and bytes.

    Audio that is pushed together becomes one message, because the cost of a message hardly depends on its length. Each
    sending of a message has its own token, so an ack of an earlier sending says nothing about the current one. Tokens
    are consecutive after each `resend`: a message's place follows from its token. The window stores nothing that it can
    derive, because with many jobs each further object is another cache miss.
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
        """Index of the first sample that was not pushed yet."""
        self.refused = False
        """A message was refused: the watermark stands still until `resend`."""
        self._max_messages = max_messages
        self._max_samples = max_bytes // WIDTH
        self._sounds: deque[bytes] = deque()  # of each message
        self._first = 0  # token of the oldest message
        self._early = _NONE  # tokens of messages that were stored before an earlier one

    @property
    def full(self) -> bool:
        """Whether `push` must wait."""
        return self.sent - self.stored >= self._max_samples or len(self._sounds) >= self._max_messages

    @property
    def empty(self) -> bool:
        """Whether everything that was pushed is stored."""
        return not self._sounds

    def push(self, sound: Sequence[bytes]) -> tuple[list[Message], Sequence[bytes]]:
        """Make messages, usually one, of the next audio; also returns the pieces that there was no room for."""
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
        """Note that a message was stored; returns whether the watermark moved."""
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
        """Note that a message was refused; earlier sendings are ignored."""
        if self._first <= token < self._first + len(self._sounds):
            self.refused = True

    def mark_lost(self) -> None:
        """Note that all messages under way may have been lost."""
        self.refused = not self.empty

    def resend(self) -> list[Message]:
        """All messages from the watermark on, with new tokens, to be published in this order."""
        self.refused = False
        self._early = _NONE
        self._first += len(self._sounds)
        ends = accumulate((len(pcm) // WIDTH for pcm in self._sounds), initial=self.stored)
        next(ends)
        return list(zip(range(self._first, self._first + len(self._sounds)), ends, self._sounds, strict=True))


class Gap(Exception):
    """The audio before `sample` is not in the stream any more; reading goes on with message `seq`."""

    def __init__(self, sample: int, seq: int) -> None:
        super().__init__(f"sound before sample {sample} is gone")
        self.sample = sample
        self.seq = seq


_MAX_AHEAD = MAX_BYTES // WIDTH
"""A frame further ahead cannot have been sent while the audio before it was unacknowledged: that audio is gone."""


class Reassembler:
    """Puts stored frames together to one contiguous stretch of samples, each taken once and in order.

    Also knows from which message on a sample can be read again.
    """

    def __init__(self, start: int) -> None:
        self.expected = start
        """The sample that comes next."""
        self._ahead: tuple[int, int] | None = None
        self._messages: deque[tuple[int, int]] = deque()  # first sample and sequence of one message per second
        self._oldest = 1  # sequence to read from while no message is remembered

    def take(self, seq: int, frame: AudioFrame) -> bytes:
        """The new samples of a stored frame; empty if it is a repeat or comes too early.

        A first frame that begins before `start` is taken whole: reading began early to warm a detector up.
        Raises Gap once it is certain that the expected sample will not come.
        """
        if frame.cut:
            return b""  # it names a sample, but says nothing about what is stored: see `cuts`
        start, expected = frame.start, self.expected
        if start < expected and not self._messages:
            expected = start
        if start > expected:
            self._ahead = self._ahead or (start, seq)
            # The end mark is only sent when all audio before it is stored.
            if frame.last or start - expected > _MAX_AHEAD:
                raise Gap(*self._ahead)
            return b""
        pcm = frame.pcm[(expected - start) * WIDTH :]
        self.expected = expected + len(pcm) // WIDTH
        if pcm:
            self._ahead = None
            if not self._messages or start - self._messages[-1][0] >= RATE:
                self._messages.append((start, seq))
        return pcm

    @property
    def gap(self) -> Gap | None:
        """Where there is audio that cannot be taken yet, because the audio before it has not come."""
        return None if self._ahead is None else Gap(*self._ahead)

    def cuts(self, frame: AudioFrame) -> bool:
        """Whether a frame requests a cut in audio that was taken; a request that comes too early is ignored."""
        return frame.cut and frame.start <= self.expected

    def skip(self, gap: Gap) -> None:
        """Go on behind a gap."""
        self.expected, self._ahead, self._oldest = gap.sample, None, gap.seq
        self._messages.clear()  # the next owner must not begin before the gap

    def sequence_of(self, sample: int) -> int:
        """Sequence of a message at most one second before this sample, or of the oldest one that is remembered."""
        found = self._messages[0][1] if self._messages else self._oldest
        for start, seq in self._messages:
            if start > sample:
                break
            found = seq
        return found

    def forget(self, sample: int) -> None:
        """Drop what `sequence_of` needs for samples before this one."""
        while len(self._messages) > 1 and self._messages[1][0] <= sample:
            self._messages.popleft()
