from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from contract import ActionItem, Completed, JobOptions, Message, Summary, Transcript, Word, transcript_text
from contract.view import SegmentView
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


def body(events: Sequence[Message], **options: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(core.encode(core.job_completed(JobOptions(**options), COMPLETED, events)))
    return made


def test_the_body_is_what_clients_see_of_the_job() -> None:
    events = [TRANSCRIPTS[2], SUMMARY, TRANSCRIPTS[0], TRANSCRIPTS[3], TRANSCRIPTS[1]]
    assert body(events, metadata={"room": 7}) == {
        "type": "job_completed",
        "job_id": "m1",
        "metadata": {"room": 7},
        "duration": 4.0,
        "segments": [SegmentView.of(transcript).model_dump() for transcript in TRANSCRIPTS],
        "transcript": transcript_text(TRANSCRIPTS),
        "summary": SUMMARY.view.model_dump(),
    }
    assert body(TRANSCRIPTS)["summary"] is None


def test_a_missing_transcript_keeps_its_place() -> None:
    segments = body([TRANSCRIPTS[0], TRANSCRIPTS[3]])["segments"]
    assert [segment["index"] for segment in segments] == [0, 1, 2, 3]
    missing = "its transcript is not on the bus any more"
    assert [segment.get("error") for segment in segments] == [None, missing, missing, None]


def test_the_generation_of_the_finished_job_is_posted() -> None:
    better = [transcript.model_copy(update={"generation": 2, "text": "Better."}) for transcript in TRANSCRIPTS]
    events = [*TRANSCRIPTS, *better]
    assert body(events) == body(TRANSCRIPTS)
    corrected = COMPLETED.model_copy(update={"generation": 2})
    posted = core.job_completed(JobOptions(), corrected, events)
    assert [segment.text for segment in posted.segments] == ["Better."] * 4


def test_metadata_is_json_in_utf_8() -> None:
    options = JobOptions(metadata={"score": float("nan"), "name": "민아"})
    encoded = core.encode(core.job_completed(options, COMPLETED, []))
    assert json.loads(encoded)["metadata"] == {"score": None, "name": "민아"}
    assert "민아".encode() in encoded


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("between us 우리끼리", "between us 우리끼리".encode()),
    ],
    ids=["whsec", "plain"],
)
def test_a_receiver_can_verify_a_delivery(secret: str, key: str | bytes) -> None:
    encoded, now = '{"name": "민아"}'.encode(), datetime.now(UTC)
    receiver = Webhook(key)
    first, second = (core.headers("m1", encoded, secret, now - age) for age in (timedelta(), timedelta(minutes=4)))
    assert receiver.verify(encoded, first) == receiver.verify(encoded, second) == {"name": "민아"}
    assert first["webhook-id"] == second["webhook-id"] == "job_completed_m1"
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        receiver.verify(encoded + b" ", first)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        receiver.verify(encoded, first | {"webhook-id": "job_completed_m2"})
    with pytest.raises(WebhookVerificationError, match="too old"):
        receiver.verify(encoded, core.headers("m1", encoded, secret, now - timedelta(minutes=6)))


def test_the_signature_is_that_of_the_specification() -> None:
    # The example in the reference implementations of the Standard Webhooks specification.
    signed = Webhook(core.signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1_614_265_330, UTC), '{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_plain_secret_signs_as_in_earlier_versions_too() -> None:
    # RFC 4231, test case 2
    expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    message = b"what do ya want for nothing?"
    assert core.headers("m1", message, "Jefe", NOW)["Stenobus-Signature"] == expected
    assert "Stenobus-Signature" not in core.headers("m1", message, "whsec_SmVmZQ==", NOW)


def test_without_a_secret_nothing_is_signed() -> None:
    assert [name for name in core.headers("m1", b"{}", None, NOW) if "signature" in name.lower()] == []


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whsec_a"])
def test_a_malformed_key_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ is followed by something that is not base64"):
        core.signing_key(secret)


@pytest.mark.parametrize(
    ("status", "temporary"),
    [(408, True), (425, True), (429, True), (500, True), (503, True), (400, False), (410, False), (302, False)],
)
def test_which_refusals_are_temporary(status: int, temporary: bool) -> None:
    assert core.is_temporary(status) is temporary


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
    assert core.seconds_to_wait(header, NOW) == seconds
