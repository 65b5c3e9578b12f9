from __future__ import annotations

from itertools import pairwise

import pytest

from contract import Partial
from processors.vad.core import FRAME, OpenSegment
from processors.vad.endpointing import (
    FIRST_HYPOTHESIS,
    MIN_INTERVAL,
    PAUSE,
    Announcements,
    Endpointing,
    Hangover,
    ends_sentence,
)

HANGOVER = Hangover(least=300, usual=600, most=900)


@pytest.mark.parametrize(
    "text",
    [
        "We are done.",
        "Done?  ",
        "Done!",
        "Well…",
        "“Done.”",
        'He said "done." ',
        "(They were done.)",
        "[Fertig.] »",
        "Er sagte: »Fertig.«",
        "끝났습니다.",
        "終わりました。",
        "「終わりました。」",
        "終わった？",  # noqa: RUF001 - as it is written there
        "終わった！）",  # noqa: RUF001 - as it is written there
    ],
)
def test_a_hypothesis_at_the_end_of_a_sentence(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text", ["", "   ", '"', "and then", "then,", "then, ", "there:", "3.5 per cent", "(well", "그리고"]
)
def test_a_hypothesis_in_the_middle_of_a_sentence(text: str) -> None:
    assert not ends_sentence(text)


def paused(silence: int, voiced_end: int = 10_000) -> OpenSegment:
    return OpenSegment(1_000, 1_500, voiced_end, voiced_end + silence)


def partial(text: str, end: int = 10_000, index: int = 3) -> Partial:
    return Partial(job="a", index=index, start=1_000, end=end, text=text)


def sufficient(*partials: Partial) -> int:
    """The least silence that ends segment 3."""
    for silence in range(0, 1_500, 50):
        endpointing = Endpointing(HANGOVER)
        for one in partials:
            endpointing.on_partial(one)
        if endpointing.ends(3, paused(silence)):
            return silence
    raise AssertionError("no silence is sufficient")


def test_the_hangover_depends_on_the_hypothesis() -> None:
    assert sufficient() == 600
    assert sufficient(partial("Done.")) == 300
    assert sufficient(partial("and then")) == 900
    assert sufficient(partial("")) == 900


def test_a_hypothesis_that_covers_less_than_was_said_is_ignored() -> None:
    assert sufficient(partial("Done.", end=9_999)) == 600
    assert sufficient(partial("and then", end=9_999)) == 600
    assert sufficient(partial("Done.", index=2)) == 600


def test_the_newest_hypothesis_counts() -> None:
    assert sufficient(partial("Done."), partial("Done. And", end=10_050)) == 900
    assert sufficient(partial("Done. And", end=10_050), partial("Done.")) == 900
    assert sufficient(partial("Done."), partial("Well.", index=2, end=11_000)) == 300
    assert sufficient(partial("Don"), partial("Done.")) == 300


def test_each_pause_ends_a_segment_at_most_once() -> None:
    endpointing = Endpointing(HANGOVER)
    assert endpointing.ends(3, paused(600))
    assert not endpointing.ends(3, paused(700))
    endpointing.on_partial(partial("Done."))
    assert not endpointing.ends(3, paused(800))
    assert not endpointing.ends(3, paused(500, voiced_end=12_000))
    assert endpointing.ends(3, paused(600, voiced_end=12_000))
    assert endpointing.ends(4, paused(600, voiced_end=12_000))


# ---- announcements


def announced(
    segments: list[OpenSegment], *, growth: bool = True, pauses: bool = False, index: int = 0
) -> list[tuple[int, bool]]:
    """The announcements that are made: the end of the segment then, and whether it is the segment's first."""
    announcements = Announcements(growth=growth, pauses=pauses)
    return [(segment.end, first) for segment in segments for first in announcements.due(index, segment)]


def talking(frames: int, voiced_start: int = 4_800) -> list[OpenSegment]:
    """A segment without a pause that opens after three frames, frame by frame."""
    ends = (voiced_start + FRAME * count for count in range(3, frames))
    return [OpenSegment(0, voiced_start, end, end) for end in ends]


def test_a_segment_is_announced_when_it_opens_and_then_less_and_less_often() -> None:
    found = announced(talking(900))
    assert found[0] == (4_800 + 3 * FRAME, True)
    ends = [end for end, first in found if not first]
    assert ends[0] == 4_800 + 14 * FRAME >= 4_800 + FIRST_HYPOTHESIS > 4_800 + 13 * FRAME
    gaps = [after - before for before, after in pairwise(ends)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 17 * FRAME >= MIN_INTERVAL > 16 * FRAME
    assert all(gap - FRAME < max(MIN_INTERVAL, end / 5) <= gap for gap, end in zip(gaps, ends, strict=False))
    assert 10 < len(found) < 20


def test_only_the_first_announcement_is_made_where_no_hypotheses_are_wanted() -> None:
    assert announced(talking(900), growth=False, pauses=True) == [(4_800 + 3 * FRAME, True)]


def test_a_segment_that_arrives_at_once_is_announced_as_open_and_as_grown() -> None:
    late = OpenSegment(0, 4_800, 30_000, 30_000)
    assert announced([late, late]) == [(30_000, True), (30_000, False)]


@pytest.mark.parametrize("pauses", [True, False])
def test_a_pause_is_announced_once_and_only_where_pauses_are_judged(pauses: bool) -> None:
    silence = [OpenSegment(0, 4_800, 19_200, 19_200 + FRAME * count) for count in range(1, 15)]
    expected = [(19_200 + PAUSE, False)] if pauses else []
    assert announced([*talking(31), *silence], pauses=pauses)[3:] == expected


def test_each_pause_is_announced() -> None:
    segments = [
        OpenSegment(0, 4_800, voiced_end, voiced_end + FRAME * count)
        for voiced_end in (9_600, 14_400)
        for count in range(9)
    ]
    ends = [end for end, _ in announced([*talking(11), *segments], pauses=True)]
    assert {9_600 + PAUSE, 14_400 + PAUSE} <= set(ends)


@pytest.mark.parametrize("pauses", [True, False])
def test_a_segment_that_settles_is_announced_once_in_each_pause(pauses: bool) -> None:
    def pause(voiced_end: int, padding: int) -> list[OpenSegment]:
        ends = (voiced_end + FRAME * count for count in range(1, 60))
        settled = voiced_end + padding
        return [OpenSegment(0, 4_800, voiced_end, end, settled if end >= settled else 0) for end in ends]

    early = [(19_200 + PAUSE, False)] if pauses else []
    assert announced([*talking(31), *pause(19_200, 4_800)], pauses=pauses)[3:] == [*early, (19_200 + 4_800, False)]
    assert announced([*talking(31), *pause(19_200, 0)], pauses=pauses)[3:] == [(19_200 + PAUSE, False)]
    again = announced([*talking(31), *pause(19_200, 4_800), *pause(52_800, 4_800)], pauses=pauses)[-1]
    assert again == (52_800 + 4_800, False)
    assert announced(pause(19_200, 4_800), growth=False, pauses=pauses) == [(19_200 + FRAME, True)]


def test_a_segment_does_not_grow_while_nobody_speaks() -> None:
    before, *_ = talking(15)
    ends = (before.voiced_end + FRAME * count for count in range(60))
    silence = [OpenSegment(0, 4_800, before.voiced_end, end) for end in ends]
    assert announced([before, *silence]) == [(before.end, True)]
    resumed = OpenSegment(0, 4_800, silence[-1].end + FRAME, silence[-1].end + FRAME)
    assert announced([before, *silence, resumed])[1:] == [(resumed.end, False)]


def test_each_segment_has_a_first_announcement() -> None:
    announcements = Announcements(growth=True, pauses=False)
    segment = OpenSegment(0, 4_800, 6_240, 6_240)
    assert [announcements.due(index, segment) for index in (0, 0, 1, 1, 2)] == [[True], [], [True], [], [True]]
