from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from contract import ActionItem, Completed, JobOptions, Message, Summary, Transcript, Word, transcript_text
from contract.view import SegmentView
from edge.capture.session import Session
from processors.webhook import core

WORDS = [Word(word=" Good", start=1_601, end=8_005, probability=0.98765)]
TRANSCRIPTS = [
    Transcript(
        job="m1",
        index=0,
        start=1_601,
        end=24_007,
        text=" Good morning. ",
        language="en",
        language_probability=0.9,
        confidence=0.876543,
        words=WORDS,
        model="small",
        elapsed=0.4,
    ),
    Transcript(job="m1", index=1, start=30_000, end=31_000, text="", error="the model ran out of memory"),
    Transcript(job="m1", index=2, start=40_000, end=50_000, text="다음 회의는 금요일입니다.", language="ko"),
    Transcript(job="m1", index=3, start=60_000, end=61_000, text="  "),
]
SUMMARY = Summary(
    job="m1",
    title="Stand-up",
    summary="The release is on Friday.",
    key_points=["Tests are green"],
    decisions=["Ship"],
    action_items=[ActionItem(who="Anna", what="write the notes")],
    language="en",
    engine="ollama",
    model="gemma3",
)
COMPLETED = Completed(job="m1", segments=4, samples=64_000)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def payload(events: Sequence[Message], **options: Any) -> dict[str, Any]:
    return core.payload(JobOptions(**options), COMPLETED, events)


@pytest.mark.parametrize("summary", [[SUMMARY], []])
def test_each_part_has_the_shape_that_other_clients_see(summary: list[Message]) -> None:
    events = [TRANSCRIPTS[2], *summary, TRANSCRIPTS[0], TRANSCRIPTS[3], TRANSCRIPTS[1]]
    session = Session("m1", JobOptions())
    (final,) = [reply for event in [*events, COMPLETED] for reply in session.on_event(event) if "summary" in reply]
    assert payload(events, metadata={"room": 7}) == {
        **final,
        "type": "job_completed",
        "metadata": {"room": 7},
        "duration": 4.0,
        "segments": [SegmentView.of(transcript).model_dump() for transcript in TRANSCRIPTS],
    }


def test_the_shape_is_that_of_the_store_and_of_a_job() -> None:
    made = payload([*TRANSCRIPTS, SUMMARY])
    assert made["transcript"] == transcript_text(TRANSCRIPTS) == "Good morning.\n다음 회의는 금요일입니다."
    assert made["summary"] == SUMMARY.view.model_dump()
    assert made["segments"][0]["start"] == 0.1
    assert made["segments"][1]["error"] == "the model ran out of memory"


def test_an_unreadable_transcript_keeps_its_place() -> None:
    segments = payload([TRANSCRIPTS[0], TRANSCRIPTS[3]])["segments"]
    assert [segment["index"] for segment in segments] == [0, 1, 2, 3]
    assert [segment.get("error") for segment in segments] == [None, *["its transcript cannot be read"] * 2, None]


def test_later_generations_are_not_part_of_it() -> None:
    better = TRANSCRIPTS[0].model_copy(update={"generation": 2, "text": "Better."})
    assert payload([*TRANSCRIPTS, better]) == payload(TRANSCRIPTS)


def test_json_is_json_whatever_the_metadata() -> None:
    body = core.encode({"metadata": {"score": float("nan"), "name": "민아"}})
    assert json.loads(body) == {"metadata": {"score": None, "name": "민아"}}
    assert "민아".encode() in body


def test_the_signature_is_an_hmac_of_the_body() -> None:
    # RFC 4231, test case 2
    expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert core.signature("Jefe", b"what do ya want for nothing?") == expected


@pytest.mark.parametrize(
    ("status", "passes"),
    [(408, True), (425, True), (429, True), (500, True), (503, True), (400, False), (410, False), (302, False)],
)
def test_what_may_be_answered_otherwise_later(status: int, passes: bool) -> None:
    assert core.may_pass(status) is passes


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 1.0),
        ("3600", 60.0),
        ("9" * 400, 60.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 1.0),
        ("Sun, 01 Mar 2026 13:00:00 +0100", 1.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert core.wait(header, NOW) == seconds
