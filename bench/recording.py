"""When the stream acknowledged the audio of each job, recorded inside the edge that is measured.

`python -m bench.recording FILE` is `python -m edge` with each acknowledgement recorded, from SIGUSR1 on: what is
measured before that is the product and nothing else. FILE is written when the process stops.
"""

from __future__ import annotations

import json
import signal
import sys
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

from bus import run
from bus.publisher import AudioTrack


@dataclass(frozen=True)
class JobAcks:
    """Those of one job, in order: from second `at` on, all samples below index `stored` were stored."""

    stored: Sequence[int]
    at: Sequence[float]


@dataclass(frozen=True)
class RecordedAcks:
    """The acknowledgements of all jobs from second `since` on. Seconds are those of `time.monotonic`."""

    since: float
    jobs: Mapping[str, JobAcks]

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What `AckRecorder.write` wrote; None if recording never began. Raises OSError."""
        found = json.loads(path.read_text())
        if found is None:
            return None
        return cls(found["since"], {job: JobAcks(*acks) for job, acks in found["jobs"].items()})


class AckRecorder:
    """Records how far each job is stored, once it is `on`."""

    def __init__(self) -> None:
        self.on = False
        self._since = 0.0
        self._stored: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._at: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def begin_at_signal(self) -> None:
        """Begin at SIGUSR1."""
        signal.signal(signal.SIGUSR1, lambda *_: self.begin())

    def begin(self) -> None:
        """Begin now, if it has not begun yet."""
        if not self.on:
            self.on, self._since = True, monotonic()

    def record(self, job: str, stored: int) -> None:
        """All samples of a job below index `stored` are stored, as of now."""
        self._stored[job].append(stored)
        self._at[job].append(monotonic())

    def write(self, path: Path) -> None:
        """Write what was recorded, for `RecordedAcks.read`."""
        jobs = {job: (stored.tolist(), self._at[job].tolist()) for job, stored in self._stored.items()}
        path.write_text(json.dumps({"since": self._since, "jobs": jobs} if self.on else None))


class RecordingEdge(AckRecorder):
    """Records the acknowledgements of all tracks of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._answered = AudioTrack.answered

    def begin(self) -> None:
        """Wrap `AudioTrack.answered`, if that is not done yet."""
        if self.on:
            return
        super().begin()
        recording = self

        def answered(self: AudioTrack, token: int, answer: bytes) -> None:
            recording.answered(self, token, answer)

        AudioTrack.answered = answered  # type: ignore[method-assign]

    def end(self) -> None:
        """Unwrap it again."""
        AudioTrack.answered = self._answered  # type: ignore[method-assign]

    def answered(self, track: AudioTrack, token: int, answer: bytes) -> None:
        """In the place of `AudioTrack.answered`."""
        before = track.stored
        self._answered(track, token, answer)
        if track.stored > before:
            self.record(track.job, track.stored)


def main(path: Path) -> None:
    """Run the edge until it is stopped."""
    from edge.__main__ import main as edge  # here, so that tests of the recorder need no edge
    from edge.services import Settings

    recorder = RecordingEdge()
    recorder.begin_at_signal()
    try:
        run("edge", edge, Settings, wait=False)
    finally:
        recorder.write(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
