"""The edge with its ack latencies noted: `python -m bench.recorded FILE`, otherwise as `python -m edge`.

Of every 17 frames one is timed: from when the edge publishes it, which is as soon as it has it, until the stream has
acknowledged it and all before it. That begins at SIGUSR1: what is measured before is the product and nothing else.
FILE is written when the process stops.
"""

from __future__ import annotations

import signal
import sys
from array import array
from collections import deque
from pathlib import Path
from time import monotonic

from bus import run
from bus.publisher import AudioTrack

EVERY = 17
"""A prime, so that it is not the same few of many clients that come in turn."""


def read_latencies(path: Path, began: float, ended: float) -> list[float]:
    """Seconds that acks took of frames which came within a window, as `Latencies.write` left them. Raises OSError."""
    pairs = array("d")
    pairs.frombytes(path.read_bytes())
    return [end - start for start, end in zip(pairs[::2], pairs[1::2], strict=True) if began <= start < ended]


class Latencies:
    """Notes ack latencies once it is `on`."""

    def __init__(self) -> None:
        self.on = False
        self._pairs = array("d")

    def begin_at_signal(self) -> None:
        """Begin at SIGUSR1."""
        signal.signal(signal.SIGUSR1, lambda *_: self.begin())

    def begin(self) -> None:
        """Begin now."""
        self.on = True

    def add(self, began: float, ended: float) -> None:
        """Seconds of `time.monotonic`."""
        self._pairs.extend((began, ended))

    def write(self, path: Path) -> None:
        """For `read_latencies`."""
        path.write_bytes(self._pairs.tobytes())


class RecordingEdge(Latencies):
    """Latencies of all tracks of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._frames = 0
        self._waiting: dict[AudioTrack, deque[tuple[int, float]]] = {}
        self._publish, self._answered = AudioTrack.publish, AudioTrack.answered

    def begin(self) -> None:
        """Put ourselves around `AudioTrack.publish` and `AudioTrack.answered`; twice is once."""
        if self.on:
            return
        super().begin()
        recording = self

        def publish(self: AudioTrack, pcm: bytes) -> bool:
            return recording.publish(self, pcm)

        def answered(self: AudioTrack, token: int, *, refused: bool, data: bytes) -> None:
            recording.answered(self, token, refused=refused, data=data)

        AudioTrack.publish, AudioTrack.answered = publish, answered  # type: ignore[method-assign]

    def end(self) -> None:
        """Take ourselves away again."""
        AudioTrack.publish, AudioTrack.answered = self._publish, self._answered  # type: ignore[method-assign]
        self.on = False

    def publish(self, track: AudioTrack, pcm: bytes) -> bool:
        """In the place of `AudioTrack.publish`."""
        self._frames += 1
        if self._frames % EVERY:
            return self._publish(track, pcm)
        came = monotonic()
        full = self._publish(track, pcm)
        self._waiting.setdefault(track, deque()).append((track.sent, came))
        return full

    def answered(self, track: AudioTrack, token: int, *, refused: bool, data: bytes) -> None:
        """In the place of `AudioTrack.answered`."""
        self._answered(track, token, refused=refused, data=data)
        waiting = self._waiting.get(track)
        if waiting is None:
            return
        now = monotonic()
        while waiting and waiting[0][0] <= track.stored:
            self.add(waiting.popleft()[1], now)
        if not waiting:
            del self._waiting[track]


def main(path: Path) -> None:
    """Be the edge until it is stopped."""
    from edge.__main__ import main as edge  # not with the module: who only reads latencies needs no edge
    from edge.services import Settings

    latencies = RecordingEdge()
    latencies.begin_at_signal()
    try:
        run("edge", edge, Settings, wait=False)
    finally:
        latencies.write(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
