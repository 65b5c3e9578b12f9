import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Closed, JobOptions, Message, Opened, Segmented, Transcript, language_of
from processors.summary.meeting import Meeting, empty, unasked, unreadable


def said(index: int, text: str = "text", **fields: object) -> Transcript:
    place = {"job": "m1", "index": index, "start": index * 16_000, "end": (index + 1) * 16_000}
    return Transcript.model_validate(place | {"text": text} | fields)


def count(segments: int) -> Segmented:
    return Segmented(job="m1", segments=segments, samples=segments * 16_000)


def test_nothing_is_complete_before_the_count() -> None:
    meeting = Meeting()
    meeting.take(said(0))
    assert not meeting.complete
    meeting.take(count(1))
    assert meeting.complete


def test_a_meeting_without_speech_is_complete_with_its_count() -> None:
    meeting = Meeting()
    meeting.take(count(0))
    assert meeting.complete
    assert meeting.transcripts == []


OPTIONS = JobOptions(title="Weekly")
EVENTS: list[Message] = [Opened(job="m1", options=OPTIONS), count(9), *map(said, range(8)), *map(said, range(8))]


@given(st.permutations(EVENTS))
def test_order_and_repeats_do_not_matter(events: list[Message]) -> None:
    meeting = Meeting()
    for event in events:
        meeting.take(event)
        assert not meeting.complete
    meeting.take(said(8))
    assert meeting.complete
    assert meeting.transcripts == [said(index) for index in range(9)]
    assert meeting.options == OPTIONS


def test_other_events_and_generations_are_passed_over() -> None:
    meeting = Meeting()
    for event in (count(1), None, Closed(job="m1", samples=1, reason="stop"), said(0, "again", generation=2)):
        meeting.take(event)
    assert not meeting.complete
    meeting.take(said(0, "first"))
    meeting.take(said(0, "again", generation=2))
    assert [transcript.text for transcript in meeting.transcripts] == ["first"]


def test_an_unreadable_transcript_takes_its_place() -> None:
    stand_in = unreadable("events.m1.transcript.1.7", "not a Transcript")
    assert stand_in is not None
    assert (stand_in.job, stand_in.index, stand_in.text, stand_in.error) == ("m1", 7, "", "not a Transcript")


@pytest.mark.parametrize("subject", ["events.m1.transcript.2.7", "events.m1.opened", "events.m1.transcript.1.x"])
def test_nothing_else_has_a_stand_in(subject: str) -> None:
    assert unreadable(subject, "garbage") is None


def test_the_language_is_the_one_spoken_longest() -> None:
    korean = said(0, "네.", language="ko")
    english = [said(1, "Yes.", language="en"), said(2, "No.", language="en")]
    silent = said(3, "", language="ja", start=0, end=1_600_000)
    assert language_of([korean, *english, silent]) == "en"
    assert language_of([korean, english[0]]) == "ko"
    assert language_of([said(0), silent]) is None
    assert language_of([]) is None


def test_an_empty_meeting_says_so() -> None:
    summary = empty("m1", [], None)
    assert (summary.engine, summary.title, summary.reason) == ("none", "Empty meeting", "there is no transcript")
    assert summary.summary == "Nothing was said that could be transcribed."
    assert empty("m1", [said(0, "")], "Weekly").title == "Weekly"


def test_a_meeting_that_failed_says_so() -> None:
    summary = empty("m1", [said(0, "", error="out of memory"), said(1, "")], None)
    assert summary.summary == "None of what was said could be transcribed: 1 of 2 segments failed."


def test_no_summary_was_wanted() -> None:
    summary = unasked("m1", "ko", "주간 회의")
    assert (summary.engine, summary.title, summary.summary) == ("none", "주간 회의", "")
    assert summary.reason == "summary was not asked for"
