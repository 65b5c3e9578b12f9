from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.acks import acks, read_acks
from bench.load.report import Meeting
from bench.watermarks import Moves, Noted, Watermarks

FRAME = 480  # samples in 30 ms


def meeting(job: str, began: float, handed: Sequence[float]) -> Meeting:
    samples = FRAME * len(handed)
    return Meeting(0, job, began, began, began + 9, samples, samples, 30, 1000, None, [], handed)


def noted(*moves: tuple[int, float], job: str = "a", since: float = 0.0) -> Noted:
    return Noted(since, {job: Moves([stored for stored, _ in moves], [at for _, at in moves])})


def test_an_ack_of_two_frames_is_late_for_the_first_and_less_so_for_the_second() -> None:
    found = acks(noted((2 * FRAME, 10.075)), [meeting("a", 10.0, [0.0, 0.03])], 10.0, 11.0)
    assert found == pytest.approx([0.075, 0.045])


def test_a_frame_that_is_not_stored_to_its_end_waits_for_the_next_ack() -> None:
    moves = noted((FRAME, 10.001), (2 * FRAME - 1, 10.04), (3 * FRAME, 10.08))
    found = acks(moves, [meeting("a", 10.0, [0.0, 0.03, 0.06])], 10.0, 11.0)
    assert found == pytest.approx([0.001, 0.05, 0.02])


def test_only_frames_that_were_handed_over_in_the_time_count_however_late_their_acks() -> None:
    moves = noted(*((number * FRAME, 10.5 + number) for number in (1, 2, 3, 4)))
    found = acks(moves, [meeting("a", 10.0, [0.0, 0.25, 0.5, 0.75])], 10.25, 10.75)
    assert found == pytest.approx([2.25, 3.0])


def test_what_came_before_notes_were_taken_does_not_count() -> None:
    moves = noted((3 * FRAME, 10.1), since=10.05)  # the first two may have been acked earlier, unseen
    found = acks(moves, [meeting("a", 10.0, [0.0, 0.03, 0.06])], 10.0, 11.0)
    assert found == pytest.approx([0.04])


def test_jobs_are_told_apart_and_what_was_never_acked_has_no_time() -> None:
    moves = Noted(0.0, {"a": Moves([FRAME], [10.5]), "b": Moves([FRAME, 2 * FRAME], [10.25, 10.75])})
    handed = [meeting("a", 10.0, [0.0, 0.5]), meeting("b", 10.0, [0.0, 0.5]), meeting("c", 10.0, [0.0])]
    assert acks(moves, handed, 10.0, 11.0) == [0.5, 0.25, 0.25]


def test_a_server_that_was_not_told_to_note_has_timed_nothing(tmp_path: Path) -> None:
    Watermarks().write(tmp_path / "acks")
    assert read_acks(tmp_path / "acks", [meeting("a", 10.0, [0.0])], 0.0, 99.0) == []
