"""The sound that a server may still need: what was read and is not acked yet. Pure.

Positions are sample indexes at 16 kHz from the beginning of the job's sound.
"""

from __future__ import annotations

from audio import RATE, WIDTH
from client.errors import ServerError

LIMIT = 60 * RATE
"""Samples that are kept: 2 MB, as much as a minute without a connection takes."""


class Tail:
    """Keeps sound from the first sample that is not acked on: 0 <= acked <= sent <= end."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.acked = 0
        """All below is durable, so that it is not kept any more."""
        self.sent = 0
        """The next sample for the connection that there is now."""
        self._limit = limit
        self._pcm = bytearray()

    @property
    def kept(self) -> int:
        """Samples that are kept."""
        return len(self._pcm) // WIDTH

    @property
    def end(self) -> int:
        """The first sample that has not been read yet."""
        return self.acked + self.kept

    @property
    def unsent(self) -> int:
        """Samples that the connection has not been given yet."""
        return self.end - self.sent

    @property
    def full(self) -> bool:
        """Whether reading has to wait for acks."""
        return self.kept >= self._limit

    def add(self, pcm: bytes) -> None:
        """Keep whole samples that were read."""
        self._pcm += pcm

    def take(self, most: int) -> bytes:
        """Give what is to be sent next, at most so many samples; nothing when all is sent."""
        first = self.sent - self.acked
        pcm = bytes(self._pcm[first * WIDTH : (first + most) * WIDTH])
        self.sent += len(pcm) // WIDTH
        return pcm

    def ack(self, samples: int) -> None:
        """Forget what is durable; raises ServerError for sound that was never sent."""
        if samples > self.sent:
            raise ServerError(f"the server acked {samples} samples of {self.sent} that were sent")
        if samples > self.acked:
            del self._pcm[: (samples - self.acked) * WIDTH]
            self.acked = samples

    def resume(self, sample: int) -> None:
        """Go on at the sample that a new connection expects; raises ServerError where that is impossible."""
        if not self.acked <= sample <= self.end:
            raise ServerError(
                f"the server expects sample {sample} next: there are only those from {self.acked} to {self.end}"
            )
        self.sent = sample
