"""How long frames took from a client's hands into the stream. Pure but for `read_acks`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.load.report import Meeting
from bench.watermarks import Moves, Noted
from contract import RATE


def read_acks(path: Path, meetings: Iterable[Meeting], began: float, ended: float) -> list[float]:
    """`acks` of what a server has written by now; nothing where it was not told to note. Raises OSError."""
    noted = Noted.read(path)
    return [] if noted is None else acks(noted, meetings, began, ended)


def acks(noted: Noted, meetings: Iterable[Meeting], began: float, ended: float) -> list[float]:
    """Seconds from when a client handed a frame to its socket until the stream has acknowledged it and all before it.

    Of each frame that was handed over in this time while the server took notes: the oldest and the newest that one
    ack covers alike. A frame that was never acked has none; the report says so. meetings: with `times`.
    """
    return [
        seconds
        for meeting in meetings
        if meeting.job in noted.jobs
        for seconds in _acks(meeting, noted.jobs[meeting.job], max(began, noted.since), ended)
    ]


def _acks(meeting: Meeting, moves: Moves, began: float, ended: float) -> Iterator[float]:
    samples = meeting.frame_ms * RATE // 1_000
    for number, after in enumerate(meeting.handed, 1):
        handed = meeting.began + after
        if began <= handed < ended:
            move = bisect_left(moves.stored, number * samples)
            if move < len(moves.stored):
                yield moves.at[move] - handed
