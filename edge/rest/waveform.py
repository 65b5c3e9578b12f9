"""Sound as a file, and as a drawing. Pure."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from contract import RATE, WIDTH

HEADER = 44
"""Bytes of a WAV header."""

_MOST = 0xFFFF_FFFF


def wav_header(samples: int) -> bytes:
    """The header of mono s16le at 16 kHz; beyond 4 GiB, 37 hours, it says the most that the format can say.

    Source: the canonical form of "Multimedia Programming Interface and Data Specifications 1.0", IBM and Microsoft.
    """
    data = samples * WIDTH
    riff = (b"RIFF", min(data + HEADER - 8, _MOST), b"WAVE")
    sound = (b"fmt ", 16, 1, 1, RATE, RATE * WIDTH, WIDTH, 8 * WIDTH)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *riff, *sound, b"data", min(data, _MOST))


class Peaks:
    """The lowest and the highest sample in each of some stretches of equal length."""

    def __init__(self, points: int, samples: int) -> None:
        """Of `samples` samples in `points` stretches, or one for each sample where there are fewer."""
        points = min(points, samples)
        self._starts: NDArray[np.int64] = np.arange(points, dtype=np.int64) * samples // max(points, 1)
        self._low: NDArray[np.int16] = np.full(points, 32_767, np.int16)
        self._high: NDArray[np.int16] = np.full(points, -32_768, np.int16)
        self._at = 0

    def take(self, pcm: bytes) -> None:
        """The samples that follow, s16le; at least one, and not more than were announced."""
        values = np.frombuffer(pcm, dtype="<i2")
        first, last = np.searchsorted(self._starts, [self._at, self._at + len(values) - 1], side="right") - 1
        cuts = np.maximum(self._starts[first : last + 1] - self._at, 0)
        here = slice(first, last + 1)
        self._low[here] = np.minimum(self._low[here], np.minimum.reduceat(values, cuts))
        self._high[here] = np.maximum(self._high[here], np.maximum.reduceat(values, cuts))
        self._at += len(values)

    @property
    def low(self) -> list[float]:
        """The lowest of each, -1 to 1."""
        return _scaled(self._low)

    @property
    def high(self) -> list[float]:
        """The highest of each, -1 to 1."""
        return _scaled(self._high)


def _scaled(values: NDArray[np.int16]) -> list[float]:
    return [round(value, 4) for value in (values.astype(np.float64) / 32_768).tolist()]
