from __future__ import annotations

import pytest

from contract import (
    EVENTS,
    LIVE,
    Attached,
    ContractError,
    Dead,
    Message,
    Opened,
    Partial,
    Snapshot,
    Speaking,
    Transcript,
    kind_of,
)
from stenobus.kinds import ACCEPTED, Other, select


class Insights(Message):
    SUBJECT = "events.{job}.insights"

    talk_time: float


class Elsewhere(Message):
    SUBJECT, STREAM = "speech.{job}", "SPEECH"


def refuse(subject: str, error: ContractError) -> None:
    raise error


def test_every_kind_but_the_snapshot_can_be_selected() -> None:
    assert set(ACCEPTED) == {"events", "live", *(kind_of(cls) for cls in (*EVENTS, *LIVE))}
    assert Snapshot not in LIVE
    assert "snapshot" not in ACCEPTED


def test_the_default_is_everything_that_is_stored() -> None:
    selection = select([])
    assert selection == select(["events"])
    assert (set(selection.stored.values()), selection.live, selection.others) == (set(EVENTS), (), True)
    assert selection.pattern("*") == "events.*.>"


def test_kinds_are_selected_by_name_or_class() -> None:
    selection = select(["transcript", "partial", Dead, Speaking, "partial"])
    assert selection.stored == {"transcript": Transcript, "dead": Dead}
    assert selection.live == (Partial, Speaking)
    assert not selection.others
    assert selection.pattern("j1") == "events.j1.>"


def test_a_single_kind_is_filtered_by_the_server() -> None:
    assert select(["transcript"]).pattern("*") == "events.*.transcript.*.*"
    assert select(["transcript", "live"]).pattern("j1") == "events.j1.transcript.*.*"


def test_live_kinds_alone_need_no_stream() -> None:
    selection = select(["live"])
    assert selection.live == LIVE
    assert Attached in LIVE
    assert not selection.any_stored


@pytest.mark.parametrize("kind", ["transcripts", "", "snapshot", "speech", Elsewhere, Snapshot, int])
def test_an_unknown_kind_is_refused(kind: str | type[Message]) -> None:
    with pytest.raises(ValueError, match=r"unknown kind .*; accepted: events, live, opened, .*transcript") as raised:
        select([kind])
    assert repr(kind) in str(raised.value)


def test_only_selected_kinds_are_read() -> None:
    opened = Opened(job="j")
    assert select(["opened"]).read(opened.subject, opened.encode(), refuse) == opened
    assert select(["closed"]).read(opened.subject, opened.encode(), refuse) is None
    with pytest.raises(ContractError, match=r"addressed to events\.j\.opened"):
        select(["opened"]).read("events.k.opened", opened.encode(), refuse)


def test_a_class_of_the_subscriber() -> None:
    insights = Insights(job="j", talk_time=0.5)
    assert select([Insights]).pattern("*") == "events.*.insights"
    assert select([Insights]).read(insights.subject, insights.encode(), refuse) == insights
    assert select(["events", Insights]).read(insights.subject, insights.encode(), refuse) == insights


def test_an_unknown_kind_is_read_as_other() -> None:
    found = select(["events"]).read("events.j.insights.1", Insights(job="j", talk_time=0.5).encode(), refuse)
    assert isinstance(found, Other)
    assert (found.job, found.rest, found.subject) == ("j", "insights.1", "events.j.insights.1")
    assert found.model_extra == {"talk_time": 0.5}
    with pytest.raises(ContractError, match=r"of job j but published on events\.k\.insights"):
        select(["events"]).read("events.k.insights", Insights(job="j", talk_time=0.5).encode(), refuse)
    with pytest.raises(ContractError, match="not a Other: job: Field required"):
        select(["events"]).read("events.k.insights", b"\x80", refuse)
    assert select(["events"]).read("events.k", Opened(job="k").encode(), refuse) is not None
