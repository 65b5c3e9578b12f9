from __future__ import annotations

import signal
from pathlib import Path
from time import monotonic

from bench.watermarks import Noted, Watermarks


def test_what_was_noted_is_read(tmp_path: Path) -> None:
    written = Watermarks()
    before = monotonic()
    written.begin()
    since = monotonic()
    written.begin()  # twice is once
    for job, stored in (("a", 480), ("b", 960), ("a", 1_440)):
        written.note(job, stored)
    written.write(tmp_path / "acks")
    noted = Noted.read(tmp_path / "acks")
    assert noted is not None
    assert before <= noted.since <= since
    assert {job: moves.stored for job, moves in noted.jobs.items()} == {"a": [480, 1_440], "b": [960]}
    first, last = noted.jobs["a"].at
    assert since <= first <= noted.jobs["b"].at[0] <= last <= monotonic()


def test_who_was_never_told_to_note_has_noted_nothing(tmp_path: Path) -> None:
    Watermarks().write(tmp_path / "acks")
    assert Noted.read(tmp_path / "acks") is None


def test_it_begins_at_the_signal() -> None:
    before, waiting = signal.getsignal(signal.SIGUSR1), Watermarks()
    try:
        waiting.begin_at_signal()
        assert not waiting.on
        signal.raise_signal(signal.SIGUSR1)
        assert waiting.on
    finally:
        signal.signal(signal.SIGUSR1, before)
