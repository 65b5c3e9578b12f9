"""Audio on its way to a server: how it is cut into frames, when each is due, and what is not acked yet. Pure.

Positions are sample indexes at 16 kHz from the beginning of the job's audio.
"""

from __future__ import annotations

from collections.abc import Iterator

from client.errors import ServerError
from contract import RATE, WIDTH

LIVE_MS = 30
"""Length of a message with live audio. A longer one delays everything by half of what it is longer."""

UPLOAD_MS = 480
"""Length of a message with recorded audio, a whole number of live frames.

What a message costs the servers depends little on its length: compared with 30 ms this halves what the edge,
nats-server and the segmenter need for a minute of audio. One second would save another quarter, but an edge without its
bus would then hold half as much again for each connection.
"""

LIMIT = 60 * RATE
"""Samples that the backlog holds: 2 MB, enough for a minute without a connection."""


def frame_bytes(frame_ms: int) -> int:
    """Bytes of a frame of mono 16 kHz s16le; 30 ms are 960."""
    return frame_ms * RATE // 1_000 * WIDTH


def take_frames(buffer: bytearray, size: int) -> Iterator[bytes]:
    """Take whole frames of `size` bytes off the front of `buffer`; less than one frame is left."""
    while len(buffer) >= size:
        frame = bytes(buffer[:size])
        del buffer[:size]
        yield frame


def take_rest(buffer: bytearray) -> bytes:
    """Take all whole samples off the front of `buffer`; half a sample, as of a broken pipe, is left."""
    whole = len(buffer) - len(buffer) % WIDTH
    rest = bytes(buffer[:whole])
    del buffer[:whole]
    return rest


def delay(now: float, start: float, index: int, frame_ms: int) -> float:
    """Seconds to wait at `now` before sending frame `index` of a stream that began at `start`; 0 when it is late.

    The schedule is absolute, so that late wake-ups never add up. As with a microphone, a frame is available once its
    last sample has been recorded.
    """
    return max(0.0, start + (index + 1) * frame_ms / 1_000 - now)


class Backlog:
    """Keeps audio until it is acked: 0 <= acked <= sent <= end."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.acked = 0
        """All audio below is durable and no longer kept."""
        self.sent = 0
        """The next sample to send on the current connection."""
        self._limit = limit
        self._pcm = bytearray()

    @property
    def unacked(self) -> int:
        """Samples that are kept."""
        return len(self._pcm) // WIDTH

    @property
    def end(self) -> int:
        """The first sample that has not been read from the source yet."""
        return self.acked + self.unacked

    @property
    def unsent(self) -> int:
        """Samples that have not been sent on the current connection."""
        return self.end - self.sent

    @property
    def full(self) -> bool:
        """Whether reading has to wait for acks."""
        return self.unacked >= self._limit

    def add(self, pcm: bytes) -> None:
        """Append whole samples."""
        self._pcm += pcm

    def take(self, most: int) -> bytes:
        """Return the next samples to send, at most `most`; empty when all are sent."""
        first = self.sent - self.acked
        pcm = bytes(self._pcm[first * WIDTH : (first + most) * WIDTH])
        self.sent += len(pcm) // WIDTH
        return pcm

    def ack(self, samples: int) -> None:
        """Drop what is durable; raises ServerError for audio that was never sent."""
        if samples > self.sent:
            raise ServerError(f"the server acked {samples} samples of {self.sent} that were sent")
        if samples > self.acked:
            del self._pcm[: (samples - self.acked) * WIDTH]
            self.acked = samples

    def resume(self, sample: int) -> None:
        """Continue at the sample that a new connection expects; raises ServerError where that is impossible."""
        if not self.acked <= sample <= self.end:
            raise ServerError(
                f"the server expects sample {sample} next, but the client has only {self.acked} to {self.end}"
            )
        self.sent = sample
