from __future__ import annotations

import itertools
from typing import Any

import pytest

from client.errors import ServerError
from client.transcript import Transcript
from contract.socket import SocketPartial
from tests.client.server import FINAL, SUMMARY, segment


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_segments_come_out_in_order_whatever_order_they_arrive_in(order: tuple[int, ...]) -> None:
    transcript = Transcript()
    shown = [out.index for index in order for out in transcript.feed(segment(index, f"s{index}"))]
    assert shown == [0, 1, 2, 3]
    assert transcript.held == []
    assert transcript.segments == 4


def test_a_segment_without_text_is_not_shown_but_takes_its_place() -> None:
    transcript = Transcript()
    assert transcript.feed(segment(1, "later")) == []
    assert [held.text for held in transcript.held] == ["later"]
    assert [out.text for out in transcript.feed(segment(0, "  "))] == ["later"]
    assert transcript.segments == 1


def test_a_segment_that_failed_is_shown() -> None:
    transcript = Transcript()
    (shown,) = transcript.feed(segment(0, "", error="out of memory"))
    assert shown.error == "out of memory"
    assert transcript.segments == 1


def test_a_repeat_is_not_shown_again() -> None:
    transcript = Transcript()
    assert len(transcript.feed(segment(0, "once"))) == 1
    assert transcript.feed(segment(0, "once")) == []
    assert transcript.held == []


def test_held_segments_come_out_at_the_end_despite_a_gap() -> None:
    transcript = Transcript()
    for index in (3, 1, 2):
        transcript.feed(segment(index, "" if index == 2 else f"s{index}"))
    final = {"type": "final_summary", "job_id": "j1", "summary": SUMMARY, "transcript": "", "total_segments": 0}
    assert [out.text for out in transcript.feed(final)] == ["s1", "s3"]
    assert transcript.segments == 2
    assert transcript.summary is not None
    assert transcript.summary.action_items[0].who == "Anna"


def test_status_ack_and_partial() -> None:
    transcript = Transcript()
    messages: list[dict[str, Any]] = [
        {"type": "connection_success", "job_id": "j1", "next_sample": 0},
        {"type": "ack", "samples": 24_000},
        {"type": "status", "state": "transcribing", "lag": 2.5},
        {"type": "partial", "start": 0.5, "text": "good mor", "stable": 4},
        {"type": "something_new", "value": 1},
    ]
    assert [transcript.feed(message) for message in messages] == [[]] * 5
    known = (transcript.job, transcript.saved, transcript.state, transcript.lag, transcript.partial)
    assert known == ("j1", 1.5, "transcribing", 2.5, SocketPartial(start=0.5, text="good mor", stable=4))


def test_a_simpler_server_may_send_less() -> None:
    transcript = Transcript()
    minimal = {"type": "transcript_segment", "index": 0, "start": 0, "end": 1.5, "text": "Hi."}
    assert [segment.text for segment in transcript.feed(minimal)] == ["Hi."]
    transcript.feed({"type": "final_summary", "job_id": "j1", "summary": None, "transcript": "Hi."})
    assert transcript.summary is None


def hear(start: float, text: str) -> dict[str, Any]:
    return {"type": "partial", "start": start, "text": text, "stable": 0}


def test_a_partial_stays_until_its_own_final() -> None:
    transcript = Transcript()
    transcript.feed(hear(2.0, "good mor"))
    transcript.feed(segment(0, "Hello."))  # which ends at 1.5
    assert transcript.partial is not None
    assert transcript.partial.text == "good mor"
    transcript.feed(segment(1, "Good morning."))
    assert transcript.partial is None
    transcript.feed(hear(6.0, "and"))
    transcript.feed(hear(6.0, "and then"))
    transcript.feed(segment(4, "And so on."))  # a later one: this one is over too
    assert transcript.partial is None


@pytest.mark.parametrize(
    "message",
    [
        {"type": "connection_success", "job_id": "j1", "next_sample": 0},
        {"type": "final_summary", "job_id": "j1", "summary": None, "transcript": "", "total_segments": 0},
    ],
)
def test_no_partial_outlives_its_connection(message: dict[str, Any]) -> None:
    transcript = Transcript()
    transcript.feed(hear(2.0, "good mor"))
    transcript.feed(message)
    assert transcript.partial is None


def test_a_new_connection_says_what_is_saved_and_ends_the_wait_for_one() -> None:
    transcript = Transcript()
    transcript.feed({"type": "connection_success", "job_id": "j1", "next_sample": 0})
    transcript.disconnected(2.0)
    transcript.feed({"type": "connection_success", "job_id": "j1", "next_sample": 16_000})
    assert (transcript.kept, transcript.saved) == (None, 1.0)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({"type": "ack"}, "ack that breaks the contract: samples: Field required"),
        ({"type": "partial", "text": "good"}, "partial that breaks the contract: start: Field required"),
        ({"type": "transcript_segment", "index": "x", "start": 0, "end": 1}, "transcript_segment .* index: "),
        (
            FINAL | {"summary": SUMMARY | {"action_items": ["do it"]}},
            r"final_summary .* summary.action_items.0: ",
        ),
    ],
)
def test_a_broken_message_is_named(message: dict[str, Any], what: str) -> None:
    with pytest.raises(ServerError, match=what):
        Transcript().feed(message)
