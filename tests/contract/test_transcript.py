from __future__ import annotations

import pytest

from contract import Transcript, language_of, read_transcripts, transcript_text


def transcript(index: int, text: str = "text", **fields: object) -> Transcript:
    place = {"job": "m1", "index": index, "start": index * 16_000, "end": (index + 1) * 16_000}
    return Transcript.model_validate(place | {"text": text} | fields)


def test_an_unreadable_transcript_has_a_stand_in() -> None:
    assert Transcript.unreadable("events.m1.transcript.2.7", "not a Transcript") == Transcript(
        job="m1", generation=2, index=7, start=0, end=0, text="", error="not a Transcript"
    )


@pytest.mark.parametrize(
    "subject", ["events.m1.opened", "events.m1.transcript.1.x", "events.m1.transcript.0.1", "events.m!.transcript.1.1"]
)
def test_nothing_else_has_a_stand_in(subject: str) -> None:
    assert Transcript.unreadable(subject, "garbage") is None


def test_stored_transcripts_are_read_in_order_and_garbage_is_left_out() -> None:
    stored = [transcript(1).encode(), b"garbage", transcript(0).encode()]
    assert read_transcripts(stored) == [transcript(0), transcript(1)]


def test_the_text_has_a_line_for_each_segment_with_text() -> None:
    assert transcript_text([transcript(2, " c "), transcript(1, " "), transcript(0, "a")]) == "a\nc"


def test_the_language_is_the_one_spoken_longest() -> None:
    korean = transcript(0, "네.", language="ko")
    english = [transcript(1, "Yes.", language="en"), transcript(2, "No.", language="en")]
    silent = transcript(3, "", language="ja", start=0, end=1_600_000)
    assert language_of([korean, *english, silent]) == "en"
    assert language_of([korean, english[0]]) == "ko"
    assert language_of([transcript(0), silent]) is None
    assert language_of([]) is None
