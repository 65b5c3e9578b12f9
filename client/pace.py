"""How sound is cut into frames and when each of them is due. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from audio import RATE, WIDTH


def frame_bytes(frame_ms: int) -> int:
    """Bytes of a frame of mono 16 kHz s16le; 30 ms are 960."""
    return frame_ms * RATE // 1_000 * WIDTH


def take_frames(buffer: bytearray, size: int) -> Iterator[bytes]:
    """Take whole frames of `size` bytes off the front of `buffer`; what is left is shorter than one."""
    while len(buffer) >= size:
        frame = bytes(buffer[:size])
        del buffer[:size]
        yield frame


def take_rest(buffer: bytearray) -> bytes:
    """Take the whole samples that are left at the end of the sound; half a sample, from a pipe cut off, is dropped."""
    rest = bytes(buffer[: len(buffer) - len(buffer) % WIDTH])
    buffer.clear()
    return rest


def delay(now: float, start: float, index: int, frame_ms: int) -> float:
    """Seconds to wait at `now` before sending frame `index` of a stream begun at `start`; 0 when it is late.

    The schedule is absolute, so that late wake-ups never add up. As with a microphone, a frame is there once its last
    sample was heard.
    """
    return max(0.0, start + (index + 1) * frame_ms / 1_000 - now)
