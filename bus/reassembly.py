"""From audio frames as they are stored to one unbroken stretch of samples. Pure.

A publisher sends again from the last stored sample after any refusal, so frames may be there twice and out of order;
the sample that is expected next decides (the receiver's side of go-back-N).
"""

from __future__ import annotations

from collections import deque

from bus.window import MAX_BYTES
from contract import RATE, WIDTH
from contract.audio import AudioFrame

_FURTHEST = MAX_BYTES // WIDTH
"""A frame this far ahead cannot have been sent while what lies before it was unacknowledged: that sound is gone."""


class Gap(Exception):
    """Sound before `sample` is in the stream no more; reading goes on with the message `seq`."""

    def __init__(self, sample: int, seq: int) -> None:
        super().__init__(f"sound before sample {sample} is gone")
        self.sample = sample
        self.seq = seq


class Reassembler:
    """Accepts each sample once, in order; knows from which message on a sample can be read again."""

    def __init__(self, start: int) -> None:
        self.expected = start
        """The sample that comes next."""
        self._ahead: tuple[int, int] | None = None
        self._messages: deque[tuple[int, int]] = deque()  # first sample and sequence of one in each second
        self._oldest = 1  # message to read from while none is remembered

    def take(self, seq: int, frame: AudioFrame) -> bytes:
        """The samples of a stored frame that are new and next; empty for a repeat, or one that came too early.

        A first frame that begins before `start` is taken whole: reading began early to warm a detector up.
        Raises Gap once it is certain that what is expected will not come.
        """
        if frame.cut:
            return b""  # it names a place in the sound, and says nothing of what is stored: see `cuts`
        start, expected = frame.start, self.expected
        if start < expected and not self._messages:
            expected = start
        if start > expected:
            self._ahead = self._ahead or (start, seq)
            # The mark of the end is only sent when all before it is stored.
            if frame.last or start - expected > _FURTHEST:
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
        """Where sound is that cannot be taken yet, because what lies before it has not come."""
        return None if self._ahead is None else Gap(*self._ahead)

    def cuts(self, frame: AudioFrame) -> bool:
        """Whether a frame asks for a cut in sound that has been taken; one that came too early means nothing."""
        return frame.cut and frame.start <= self.expected

    def skip(self, gap: Gap) -> None:
        """Go on behind a gap."""
        self.expected, self._ahead, self._oldest = gap.sample, None, gap.seq
        self._messages.clear()  # whoever takes over must not begin before the gap

    def sequence_of(self, sample: int) -> int:
        """Sequence of a message that is at most a second before this sample, or of the oldest one still remembered."""
        found = self._messages[0][1] if self._messages else self._oldest
        for start, seq in self._messages:
            if start > sample:
                break
            found = seq
        return found

    def forget(self, sample: int) -> None:
        """Sequences of samples before this one will not be asked for."""
        while len(self._messages) > 1 and self._messages[1][0] <= sample:
            self._messages.popleft()
