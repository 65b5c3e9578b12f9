"""The edge with its watermarks noted: `python -m bench.recorded FILE`, otherwise as `python -m edge`.

Each ack of the stream that moves the watermark of a job is noted, from SIGUSR1 on: what is measured before is the
product and nothing else. FILE is written when the process stops; `bench.acks` reads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.watermarks import Watermarks
from bus import run
from bus.publisher import AudioTrack


class RecordingEdge(Watermarks):
    """The watermarks of all tracks of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = AudioTrack.answered

    def begin(self) -> None:
        """Put ourselves around `AudioTrack.answered`; twice is once."""
        if self.on:
            return
        super().begin()
        recording = self

        def answered(self: AudioTrack, token: int, answer: bytes) -> None:
            recording.answered(self, token, answer)

        AudioTrack.answered = answered  # type: ignore[method-assign]

    def end(self) -> None:
        """Take ourselves away again."""
        AudioTrack.answered = self._answered  # type: ignore[method-assign]

    def answered(self, track: AudioTrack, token: int, answer: bytes) -> None:
        """In the place of `AudioTrack.answered`."""
        before = track.stored
        self._answered(track, token, answer)
        if track.stored > before:
            self.note(track.job, track.stored)


def main(path: Path) -> None:
    """Be the edge until it is stopped."""
    from edge.__main__ import main as edge  # not with the module: tests of what it notes need no edge
    from edge.services import Settings

    watermarks = RecordingEdge()
    watermarks.begin_at_signal()
    try:
        run("edge", edge, Settings, wait=False)
    finally:
        watermarks.write(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
