from __future__ import annotations

import pytest

from contract import (
    ALL,
    EVENTS,
    KINDS,
    LIVE,
    Closed,
    ContractError,
    Dead,
    JobOptions,
    Message,
    Opened,
    Segmented,
    Snapshot,
    Transcript,
    VadOptions,
    kind_of,
    parse_event,
    read_event,
)

CLOSED = Closed(job="a", samples=1, reason="stop")


class Review(Transcript):
    """A transcript as the reader of one processor sees it."""

    reviewer: str | None = None


def test_the_lists_of_kinds_are_complete() -> None:
    assert set(LIVE) == {cls for cls in ALL if cls.SUBJECT.startswith("live.")} - {Snapshot}
    assert set(EVENTS) == {cls for cls in ALL if cls.SUBJECT.startswith("events.")}
    assert list(KINDS.values()) == [*EVENTS, *LIVE]


def test_a_kind_is_the_third_token() -> None:
    assert kind_of(Transcript) == kind_of("events.a.transcript.1.0") == "transcript"
    assert kind_of("events.a") == kind_of("") == ""


@pytest.mark.parametrize(
    "message",
    [
        Opened(job="a", options=JobOptions(language="ko", vad=VadOptions(hangover_ms=300))),
        CLOSED,
        Segmented(job="a", segments=2, samples=5),
        Transcript(job="a", index=3, start=480, end=16_480, text="예산 검토"),
        Dead(job="a", stream="AUDIO", seq=7, at="audio.a", reason="short"),
    ],
)
def test_an_event_is_known_by_its_subject(message: Message) -> None:
    assert parse_event(message.subject, message.encode()) == message


def test_every_event_can_be_parsed() -> None:
    for cls in EVENTS:
        subject = cls.pattern("a").replace("*", "1")
        with pytest.raises(ContractError, match=f"not a {cls.__name__}"):
            parse_event(subject, b"garbage")


def test_a_kind_of_a_newer_writer_is_ignored() -> None:
    assert parse_event("events.a.applause", b"\x80") is None


def test_an_event_on_another_jobs_subject_is_refused() -> None:
    with pytest.raises(ContractError, match=r"addressed to events\.a\.closed but published on events\.b\.closed"):
        parse_event("events.b.closed", CLOSED.encode())


def test_a_reader_may_have_its_own_kinds() -> None:
    transcript = Transcript(job="a", index=0, start=0, end=1, text="Yes.")
    read = parse_event(transcript.subject, transcript.encode(), {"transcript": Review})
    assert read == Review(**transcript.model_dump())
    assert parse_event(CLOSED.subject, CLOSED.encode(), {"transcript": Review}) is None


def test_the_caller_decides_about_an_unreadable_event() -> None:
    reasons: list[str] = []

    def replace(subject: str, error: ContractError) -> Message | None:
        reasons.append(str(error))
        return Transcript.unreadable(subject, "unreadable")

    assert read_event(CLOSED.subject, CLOSED.encode(), replace) == CLOSED
    assert read_event("events.a.applause", b"garbage", replace) is None
    assert reasons == []
    assert read_event("events.a.closed", b"garbage", replace) is None
    stand_in = read_event("events.a.transcript.1.7", b"garbage", replace)
    assert stand_in == Transcript(job="a", index=7, start=0, end=0, text="", error="unreadable")
    assert [reason.split(":")[0] for reason in reasons] == ["not a Closed", "not a Transcript"]
