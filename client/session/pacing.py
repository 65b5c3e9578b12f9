"""How sound is cut into frames and when each of them is due. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from audio import RATE, WIDTH

LIVE_MS = 30
"""Length of a message with live sound: a longer one holds up all that is told of it by half of what it is longer."""

UPLOAD_MS = 480
"""Length of a message with sound that is there already, as whole live frames.

What a message costs the servers depends little on its length: against 30 ms this halves what the edge, nats-server and
the segmenter take for a minute of sound. One second would take a quarter less again, but an edge whose bus is away
would then hold half as much again of each connection.
"""


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
    """Take all whole samples off the front of `buffer`; half a sample, as of a pipe that was cut off, is left."""
    whole = len(buffer) - len(buffer) % WIDTH
    rest = bytes(buffer[:whole])
    del buffer[:whole]
    return rest


def delay(now: float, start: float, index: int, frame_ms: int) -> float:
    """Seconds to wait at `now` before sending frame `index` of a stream begun at `start`; 0 when it is late.

    The schedule is absolute, so that late wake-ups never add up. As with a microphone, a frame is there once its last
    sample was heard.
    """
    return max(0.0, start + (index + 1) * frame_ms / 1_000 - now)
