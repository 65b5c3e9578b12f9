from __future__ import annotations

import msgpack
import pytest

from contract import ContractError, Opened, Segmented, Transcript
from processors.insights.core import Rules
from processors.insights.meeting import Meeting

SEGMENTED = Segmented(job="m1", segments=2, samples=64_000)


def said(index: int, text: str = "one two", generation: int = 1) -> Transcript:
    return Transcript(
        job="m1", generation=generation, index=index, start=index * 16_000, end=index * 16_000 + 8_000, text=text
    )


@pytest.fixture
def meeting() -> Meeting:
    return Meeting("m1", Rules())


def take(meeting: Meeting, *messages: Transcript | Segmented | Opened) -> None:
    for message in messages:
        meeting.take(message.subject, message.encode())


def test_figures_are_of_what_is_there_without_a_hole(meeting: Meeting) -> None:
    take(meeting, said(2), said(0))
    assert meeting.insights().segments == 1
    take(meeting, said(1))
    assert meeting.insights().segments == 3
    assert not meeting.insights().final


def test_final_is_what_is_counted_and_all_there(meeting: Meeting) -> None:
    take(meeting, Opened(job="m1"), said(0), SEGMENTED)
    assert not meeting.complete
    assert not meeting.insights().final
    take(meeting, said(1))
    assert meeting.complete
    found = meeting.insights()
    assert (found.final, found.segments, found.until) == (True, 2, 64_000)


def test_the_later_transcript_of_an_index_counts(meeting: Meeting) -> None:
    take(meeting, Transcript(job="m1", index=0, start=0, end=8_000, text="", error="out of memory"), said(1), SEGMENTED)
    assert (meeting.insights().failed, meeting.insights().words) == (1, 2)
    take(meeting, said(0))
    assert (meeting.insights().failed, meeting.insights().words) == (0, 4)


def test_other_generations_and_unknown_kinds_are_passed_over(meeting: Meeting) -> None:
    take(meeting, said(0, generation=2))
    assert meeting.take("events.m1.applause", b"\xc1") is None
    assert meeting.insights().segments == 0


def test_a_transcript_that_cannot_be_read_takes_its_index(meeting: Meeting) -> None:
    assert meeting.take("events.m1.transcript.1.0", b"\xc1") is not None
    take(meeting, said(1), SEGMENTED)
    assert meeting.complete
    assert (meeting.insights().failed, meeting.insights().talk_seconds) == (1, 0.5)


def test_without_the_count_nobody_can_tell_the_end(meeting: Meeting) -> None:
    with pytest.raises(ContractError, match="not a Segmented"):
        meeting.take("events.m1.segmented", msgpack.packb({"job": "m1"}))


@pytest.mark.parametrize(
    "segmented", [SEGMENTED.model_copy(update={"segments": 0}), Segmented(job="m1", segments=1, samples=0)]
)
def test_what_was_erased_has_no_figures(meeting: Meeting, segmented: Segmented) -> None:
    take(meeting, said(0), segmented)
    assert meeting.void
