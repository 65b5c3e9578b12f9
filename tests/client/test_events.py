from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from client.events import STYLES, as_json_object, described
from contract import JobOptions
from stenobus import (
    ACCEPTED,
    Attached,
    Closed,
    Completed,
    Dead,
    Event,
    Message,
    Opened,
    Other,
    Partial,
    Progress,
    Redrive,
    Redriven,
    Replay,
    Replayed,
    Segmented,
    Speaking,
    Summary,
    Transcript,
)

RATE = 16_000
AT = datetime(2025, 3, 4, 12, 30, 1, 234_567, tzinfo=UTC)

SAID: list[tuple[Message, str]] = [
    (Opened(job="j", options=JobOptions(title="Stand-up", language="ko", source="upload")), "Stand-up, ko, upload"),
    (Opened(job="j"), "live"),
    (Closed(job="j", samples=3 * RATE // 2, reason="stop"), "1.5 s, stop"),
    (Segmented(job="j", segments=1, samples=RATE), "1 segment, 1.0 s"),
    (Transcript(job="j", index=3, start=61 * RATE, end=62 * RATE, text="Good\nmorning."), "#3 01:01 Good morning."),
    (Transcript(job="j", index=0, start=0, end=1, text="", error="no memory"), "#0 00:00 [not transcribed: no memory]"),
    (Transcript(job="j", index=0, start=0, end=1, text=""), "#0 00:00"),
    (Summary(job="j", title="Stand-up", summary="It went well.", engine="none"), "Stand-up: It went well."),
    (Summary(job="j", title="", summary="It went well.", engine="none"), "It went well."),
    (Completed(job="j", segments=2, samples=RATE), "2 segments, 1.0 s"),
    (Transcript(job="j", generation=2, index=3, start=0, end=1, text="Hi."), "generation 2 #3 00:00 Hi."),
    (Replay(job="j", generation=2), "generation 2, as fast as it is taken"),
    (
        Replay(job="j", generation=3, speed=1.5, options=JobOptions(language="ko")),
        "generation 3, at 1.5 times its pace, ko",
    ),
    (Replayed(job="j", generation=2, segments=3, samples=RATE), "generation 2, 3 segments, 1.0 s"),
    (Dead(job="j", stream="SPEECH", seq=7, at="speech.j", reason="\x1b[31mgarbage"), "SPEECH 7: [31mgarbage"),
    (Redrive(job="j", worker="stt", stream="SPEECH", seq=7), "SPEECH 7 by stt"),
    (Redriven(job="j", worker="stt", stream="SPEECH", seq=7), "SPEECH 7 by stt"),
    (Progress(job="j", heard=RATE, floor=0, segments=0), "1.0 s heard, 0 segments"),
    (Speaking(job="j", index=2, start=RATE, end=3 * RATE), "#2 00:01 2.0 s"),
    (Partial(job="j", index=2, start=RATE, end=3 * RATE, text="다음 회의"), "#2 00:01 다음 회의"),
    (Attached(job="j", claim=5), "claim 5"),
]


@pytest.mark.parametrize(("message", "said"), SAID)
def test_what_an_event_says(message: Message, said: str) -> None:
    assert described(message) == said


def test_every_kind_that_can_be_followed_is_described_and_has_a_style() -> None:
    described_kinds = {type(message).SUBJECT.split(".")[2] for message, _ in SAID}
    assert described_kinds == set(STYLES) == set(ACCEPTED) - {"events", "live"}


def test_a_kind_that_is_not_known_shows_its_fields() -> None:
    other = Other.decode(b"\x82\xa3job\xa1j\xa4talk\xa3\xea\xb0\x80").model_copy(update={"rest": "insights"})
    assert described(other) == '{"talk": "가"}'
    assert as_json_object(Event("insights", other, 3, AT))["message"] == {"job": "j", "talk": "가"}


def test_every_message_can_be_json() -> None:
    message = SAID[4][0]
    assert as_json_object(Event("transcript", message, 3, AT)) == {
        "time": "2025-03-04T12:30:01.234+00:00",
        "seq": 3,
        "kind": "transcript",
        "job": "j",
        "message": message.model_dump(),
    }
    for each, _ in SAID:
        json.dumps(as_json_object(Event("x", each, None, AT)))
