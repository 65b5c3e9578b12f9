"""What clients have seen. Pure. Times are seconds of `time.monotonic`, on this machine the same for all processes."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.recording import JobAcks, RecordedAcks
from contract import RATE

_STEP = 0.0001
"""Resolution of lateness, in seconds."""


@dataclass
class Lateness:
    """How late frames were handed to the socket: a histogram in tenths of a millisecond."""

    frames: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float, frames: int) -> None:
        """Some frames were late by so much; early ones were in time."""
        self.frames[max(0, round(seconds / _STEP))] += frames

    def ms(self, q: float) -> float:
        """A percentile in milliseconds, 100: the most; 0 where there was no frame."""
        wanted, passed = q / 100 * self.frames.total(), 0
        late = 0
        for late in sorted(self.frames):
            passed += self.frames[late]
            if passed >= wanted:
                break
        return round(late * _STEP * 1_000, 1)

    @classmethod
    def merge(cls, parts: Iterable[Lateness]) -> Self:
        """All of them together."""
        return cls(sum((part.frames for part in parts), Counter()))


@dataclass(frozen=True)
class Window:
    """What clients did between two moments. cores: CPU that they used; late: whether they kept the pace."""

    began: float
    ended: float
    frames: int
    samples: int
    acked: int
    """Samples acknowledged in the window."""
    meetings: int
    """Meetings that ended in the window."""
    cores: float
    late: Lateness
    frame_ms: int

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended - self.began

    @property
    def in_time(self) -> bool:
        """Whether the generator itself kept up: 99 of 100 frames were less than a frame late."""
        return self.late.ms(99) < self.frame_ms

    def excuse(self) -> str:
        """A sentence to print below figures that the generator may have spoilt; empty where it has not."""
        if self.in_time:
            return ""
        p99, most = self.late.ms(99), self.late.ms(100)
        return f"the clients themselves could not keep the pace: frames {p99:g} ms late at p99, {most:g} at most"

    def to_json(self) -> dict[str, Any]:
        """The figures that go into a JSON line."""
        return {
            "seconds": round(self.seconds, 2),
            "frames": self.frames,
            "late_p50_ms": self.late.ms(50),
            "late_p99_ms": self.late.ms(99),
            "late_max_ms": self.late.ms(100),
            "in_time": self.in_time,
            "client_cores": round(self.cores, 3),
        }


@dataclass(frozen=True)
class Told:
    """A final: the segment's end as a sample index, and when the client had it."""

    index: int
    end: int
    at: float
    text: str


@dataclass(frozen=True)
class Meeting:
    """One connection from its beginning to its end."""

    stream: int
    """Which client, 0 to streams - 1."""
    job: str
    asked: float
    """When the job was asked for."""
    began: float
    """When the first frame was handed to the socket; 0: no frame was."""
    over: float
    """When everything was received, or the client left, or failed."""
    samples: int
    """Handed to the socket."""
    acked: int
    """All samples below this index were acknowledged."""
    frame_ms: int
    close: int | None
    """The server's close code."""
    error: str | None
    """What went wrong, in a sentence."""
    told: Sequence[Told]
    handed: Sequence[float]
    """When each frame was handed over, in seconds after `began`; empty unless the plan asked for `times`."""

    def handed_with(self, samples: int) -> float:
        """When the frame was handed over that made the sound this long; at least 1. Raises IndexError without times."""
        return self.began + self.handed[(samples - 1) * 1_000 // (self.frame_ms * RATE)]


@dataclass(frozen=True)
class Report:
    """All meetings, failed ones too."""

    meetings: Sequence[Meeting]

    @property
    def samples(self) -> int:
        """Handed to sockets."""
        return sum(meeting.samples for meeting in self.meetings)

    @property
    def unacked(self) -> int:
        """Handed to sockets and never acked."""
        return sum(meeting.samples - meeting.acked for meeting in self.meetings)

    @property
    def errors(self) -> Mapping[str, int]:
        """What went wrong, and in how many meetings."""
        return Counter(meeting.error for meeting in self.meetings if meeting.error is not None)

    def excuse(self) -> str:
        """A sentence to print below the figures where something went wrong; else empty."""
        said = [f"{number} x {error}" for error, number in sorted(self.errors.items(), key=lambda item: -item[1])[:3]]
        if self.unacked:
            said.insert(0, f"{self.unacked / RATE:.2f} s of sound were never acked")
        return "; ".join(said)

    def encode(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, line: str) -> Self:
        """What `encode` wrote."""
        return cls([_meeting(found) for found in json.loads(line)["meetings"]])

    @classmethod
    def merge(cls, parts: Iterable[Report]) -> Self:
        """All of them together, in the order in which they were asked for."""
        return cls(sorted((one for part in parts for one in part.meetings), key=lambda meeting: meeting.asked))


def _meeting(found: dict[str, Any]) -> Meeting:
    return Meeting(**{**found, "told": [Told(**told) for told in found["told"]]})


def read_acks(path: Path, meetings: Iterable[Meeting], began: float, ended: float) -> list[float]:
    """`acks` from the file of a server; nothing if it did not record. Raises OSError."""
    recorded = RecordedAcks.read(path)
    return [] if recorded is None else acks(recorded, meetings, began, ended)


def acks(recorded: RecordedAcks, meetings: Iterable[Meeting], began: float, ended: float) -> list[float]:
    """Seconds from when a client handed a frame to its socket until the stream has acknowledged it and all before it.

    Of each frame that was handed over in this time while the server recorded: the oldest and the newest that one
    ack covers alike. A frame that was never acked has none; the report says so. meetings: with `times`.
    """
    return [
        seconds
        for meeting in meetings
        if meeting.job in recorded.jobs
        for seconds in _acks(meeting, recorded.jobs[meeting.job], max(began, recorded.since), ended)
    ]


def _acks(meeting: Meeting, acks: JobAcks, began: float, ended: float) -> Iterator[float]:
    samples = meeting.frame_ms * RATE // 1_000
    for number, after in enumerate(meeting.handed, 1):
        handed = meeting.began + after
        if began <= handed < ended:
            move = bisect_left(acks.stored, number * samples)
            if move < len(acks.stored):
                yield acks.at[move] - handed
