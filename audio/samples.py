"""The one kind of sound behind this package: mono, 16 kHz, signed 16-bit little-endian. Pure helpers on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
"""Samples per second."""

WIDTH = 2
"""Bytes per sample."""


class AudioError(ValueError):
    """Sound that cannot be read; the message names what and why."""


def check_length(data: bytes, width: int = WIDTH) -> None:
    """Raise AudioError unless the bytes are a whole number of samples of that many bytes."""
    if len(data) % width:
        raise AudioError(f"odd length: {len(data)} bytes are not a whole number of {8 * width}-bit samples")


def to_float32(pcm: bytes) -> NDArray[np.float32]:
    """s16le as a vector in [-1, 1), which is what speech engines take. Raises AudioError on half a sample."""
    check_length(pcm)
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32_768)
