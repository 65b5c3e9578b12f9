from __future__ import annotations

from itertools import pairwise

import pytest

from processors.vad.core import OpenSegment
from processors.vad.endpointing import FIRST_HYPOTHESIS, MIN_INTERVAL, PAUSE, Announcements

FRAME = 480


def told(
    speeches: list[OpenSegment | None], *, again: bool = True, pauses: bool = False, index: int = 0
) -> list[tuple[int, bool]]:
    """Which announcements are made: the end of the segment then, and whether it is the first."""
    announcements = Announcements(growth=again, pauses=pauses)
    return [(speech.end, first) for speech in speeches if speech for first in announcements.due(index, speech)]


def talking(frames: int, spoken: int = 4_800, start: int = 0) -> list[OpenSegment | None]:
    """OpenSegment without a pause that is open three frames after it began, one state for each frame."""
    ends = (spoken + FRAME * count for count in range(3, frames))
    return [None, *(OpenSegment(start, spoken, end, end) for end in ends)]


def test_speech_is_told_when_it_opens_and_then_ever_more_seldom() -> None:
    found = told(talking(900))
    assert found[0] == (4_800 + 3 * FRAME, True)
    ends = [end for end, first in found if not first]
    assert ends[0] == 4_800 + 14 * FRAME >= 4_800 + FIRST_HYPOTHESIS > 4_800 + 13 * FRAME
    gaps = [after - before for before, after in pairwise(ends)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 17 * FRAME >= MIN_INTERVAL > 16 * FRAME
    assert all(gap - FRAME < max(MIN_INTERVAL, end / 5) <= gap for gap, end in zip(gaps, ends, strict=False))
    assert 10 < len(found) < 20


def test_only_the_first_is_told_where_no_more_is_wanted() -> None:
    assert told(talking(900), again=False, pauses=True) == [(4_800 + 3 * FRAME, True)]


def test_nothing_is_told_while_nobody_speaks() -> None:
    assert told([None] * 100, pauses=True) == []


def test_what_was_heard_at_once_is_told_as_open_and_as_grown() -> None:
    late = OpenSegment(0, 4_800, 30_000, 30_000)
    assert told([late, late]) == [(30_000, True), (30_000, False)]


@pytest.mark.parametrize("pauses", [True, False])
def test_a_pause_is_told_once_where_it_matters(pauses: bool) -> None:
    silence = [OpenSegment(0, 4_800, 19_200, 19_200 + FRAME * count) for count in range(1, 15)]
    expected = [(19_200 + PAUSE, False)] if pauses else []
    assert told([*talking(31), *silence], pauses=pauses)[3:] == expected


def test_each_pause_is_told_again() -> None:
    speeches = [
        OpenSegment(0, 4_800, voiced_end, voiced_end + FRAME * count)
        for voiced_end in (9_600, 14_400)
        for count in range(9)
    ]
    ends = [end for end, _ in told([*talking(11), *speeches], pauses=True)]
    assert {9_600 + PAUSE, 14_400 + PAUSE} <= set(ends)


def test_each_utterance_has_a_first() -> None:
    telling = Announcements(growth=True, pauses=False)
    speech = OpenSegment(0, 4_800, 6_240, 6_240)
    assert [telling.due(index, speech) for index in (0, 0, 1, 1, 2)] == [[True], [], [True], [], [True]]
