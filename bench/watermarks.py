"""What the stream had stored of each job, and since when: noted by a server that a bench measures."""

from __future__ import annotations

import json
import signal
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self


@dataclass(frozen=True)
class Moves:
    """Of one job, in order: from second `at` on, all samples below index `stored` were stored."""

    stored: Sequence[int]
    at: Sequence[float]


@dataclass(frozen=True)
class Noted:
    """What a server has noted from second `since` on, by jobs. Seconds are those of `time.monotonic`."""

    since: float
    jobs: Mapping[str, Moves]

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What `Watermarks.write` left; None where nobody began to note. Raises OSError."""
        found = json.loads(path.read_text())
        if found is None:
            return None
        return cls(found["since"], {job: Moves(*moves) for job, moves in found["jobs"].items()})


class Watermarks:
    """Notes each move of the watermarks, once it is `on`: what is measured before is the server and nothing else."""

    def __init__(self) -> None:
        self.on = False
        self._since = 0.0
        self._stored: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._at: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def begin_at_signal(self) -> None:
        """Begin at SIGUSR1."""
        signal.signal(signal.SIGUSR1, lambda *_: self.begin())

    def begin(self) -> None:
        """Begin now; twice is once."""
        if not self.on:
            self.on, self._since = True, monotonic()

    def note(self, job: str, stored: int) -> None:
        """All samples of a job below index `stored` are stored, as of now."""
        self._stored[job].append(stored)
        self._at[job].append(monotonic())

    def write(self, path: Path) -> None:
        """For `Noted.read`."""
        jobs = {job: (stored.tolist(), self._at[job].tolist()) for job, stored in self._stored.items()}
        path.write_text(json.dumps({"since": self._since, "jobs": jobs} if self.on else None))
