"""The JSON that clients see: its form, and that a reader tolerates a newer server."""

from __future__ import annotations

from datetime import UTC, datetime

from contract import Closed, Completed, Opened, Replay, Segmented, Summary, Transcript, Word
from contract.view import JobEntryView, ProblemView, SegmentView, event_view

SEGMENT = Transcript(
    job="j",
    generation=2,
    index=3,
    start=16_016,
    end=32_000,
    text="Hello.",
    language="en",
    confidence=0.912345,
    words=[Word(word="Hello.", start=16_016, end=24_000, probability=0.55556)],
)


def test_a_segment_has_seconds_to_the_millisecond() -> None:
    assert SegmentView.of(SEGMENT).model_dump(mode="json") == {
        "index": 3,
        "start": 1.001,
        "end": 2.0,
        "text": "Hello.",
        "language": "en",
        "confidence": 0.9123,
        "words": [{"word": "Hello.", "start": 1.001, "end": 1.5, "probability": 0.5556}],
    }
    failed = SEGMENT.model_copy(update={"text": "", "error": "out of memory"})
    assert SegmentView.of(failed).model_dump()["error"] == "out of memory"


def test_times_are_iso_8601_and_a_newer_server_may_add_members() -> None:
    entry = JobEntryView(
        job_id="j",
        state="created",
        title=None,
        created_at=datetime(2026, 11, 21, 9, 30, 0, 1_000, tzinfo=UTC),
        completed_at=None,
        duration=None,
        segments=None,
        language=None,
        source="live",
        text="",
    )
    body = entry.model_dump(mode="json")
    assert (body["created_at"], body["completed_at"]) == ("2026-11-21T09:30:00.001000+00:00", None)
    assert JobEntryView.model_validate({**body, "mood": "calm"}) == entry


def test_a_problem_has_only_the_members_that_it_needs() -> None:
    problem = ProblemView(title="Gone", status=410, detail="erased")
    assert problem.model_dump() == {"type": "about:blank", "title": "Gone", "status": 410, "detail": "erased"}
    busy = ProblemView(title="Service Unavailable", status=503, detail="the bus does not answer", retry_after=2)
    assert busy.model_dump()["retry_after"] == 2


def test_events_for_clients_and_those_for_workers() -> None:
    summary = Summary(job="j", title="T", summary="S", engine="none")
    for message, members in [
        (Opened(job="j"), {"job_id", "options"}),
        (Closed(job="j", samples=1, reason="stop"), {"duration", "reason"}),
        (Segmented(job="j", segments=1, samples=1), {"segments", "duration"}),
        (Completed(job="j", segments=1, samples=1), {"segments", "duration"}),
    ]:
        view = event_view(message)
        assert view is not None
        assert set(view.model_dump()) == members
    assert event_view(summary) == summary.view
    transcript = event_view(SEGMENT)
    assert transcript is not None
    assert transcript.model_dump() == {"generation": 2, **SegmentView.of(SEGMENT).model_dump()}
    assert event_view(Replay(job="j", generation=2)) is None
