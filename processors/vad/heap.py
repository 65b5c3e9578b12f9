"""How the C library deals with memory that is freed.

An utterance is some hundred kilobytes in several copies on their way to the bus. By itself glibc gives so much back to
the system each time, and each of its pages is filled with zeros anew: a twentieth of a segmenter's CPU.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

KEPT = 64 << 20
"""Bytes that are free at the top of the heap and stay with the process."""

HEAPED = 4 << 20
"""Bytes; what is smaller comes from the heap."""


def keep_freed_memory() -> None:
    """Have what is freed used again; does nothing where the C library is another one."""
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, KEPT)
        mallopt(_M_MMAP_THRESHOLD, HEAPED)
