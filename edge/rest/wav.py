"""A job's audio as a WAV file, parts of that file, and the peaks that a waveform is drawn from. Pure."""

from __future__ import annotations

import re
import struct

import numpy as np
from numpy.typing import NDArray

from contract import RATE, WIDTH

HEADER_SIZE = 44
"""Bytes of a WAV header."""

_MAX_SIZE = 0xFFFF_FFFF
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


def wav_header(samples: int) -> bytes:
    """The header of a mono s16le file at 16 kHz. Above 4 GiB, 37 hours, the sizes are the largest possible.

    Source: the canonical form of "Multimedia Programming Interface and Data Specifications 1.0", IBM and Microsoft.
    """
    data = samples * WIDTH
    riff = (b"RIFF", min(data + HEADER_SIZE - 8, _MAX_SIZE), b"WAVE")
    fmt = (b"fmt ", 16, 1, 1, RATE, RATE * WIDTH, WIDTH, 8 * WIDTH)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *riff, *fmt, b"data", min(data, _MAX_SIZE))


class RangeNotSatisfiable(ValueError):
    """A byte range begins after the end of the file."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte, and the one after the last, that a Range header asks for of `size` bytes; None: all of them.

    Also None for several ranges, other units and unreadable headers, which RFC 9110, section 14, allows. Raises
    RangeNotSatisfiable.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:
        length = int(found[2])
        if length == 0:
            raise RangeNotSatisfiable(f"none of {size} bytes")
        return max(0, size - length), size
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable(f"byte {first} of {size}")
    return first, last + 1


class Peaks:
    """The lowest and the highest sample in each of several stretches of equal length."""

    def __init__(self, points: int, samples: int) -> None:
        """Divide `samples` samples into `points` stretches, or one for each sample where there are fewer."""
        points = min(points, samples)
        self._starts: NDArray[np.int64] = np.arange(points, dtype=np.int64) * samples // max(points, 1)
        self._low: NDArray[np.int16] = np.full(points, 32_767, np.int16)
        self._high: NDArray[np.int16] = np.full(points, -32_768, np.int16)
        self._position = 0

    def take(self, pcm: bytes) -> None:
        """Add the samples that follow, s16le: at least one, and in all not more than `samples`."""
        values = np.frombuffer(pcm, dtype="<i2")
        bounds = [self._position, self._position + len(values) - 1]
        first, last = np.searchsorted(self._starts, bounds, side="right") - 1
        cuts = np.maximum(self._starts[first : last + 1] - self._position, 0)
        here = slice(first, last + 1)
        self._low[here] = np.minimum(self._low[here], np.minimum.reduceat(values, cuts))
        self._high[here] = np.maximum(self._high[here], np.maximum.reduceat(values, cuts))
        self._position += len(values)

    @property
    def low(self) -> list[float]:
        """The lowest sample of each stretch, -1 to 1."""
        return _scaled(self._low)

    @property
    def high(self) -> list[float]:
        """The highest sample of each stretch, -1 to 1."""
        return _scaled(self._high)


def _scaled(values: NDArray[np.int16]) -> list[float]:
    return [round(value, 4) for value in (values.astype(np.float64) / 32_768).tolist()]
