from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import stenobus
from bus import Bus
from compose.servers import Server
from contract import Closed, Completed, Dead, Message, Opened, Partial, Segmented, Speaking, Summary, Transcript
from stenobus import Event
from tests.support import wait_until

SECOND = 16_000


class Subscriber:
    """Collects events in the background."""

    def __init__(self, events: AsyncGenerator[Event[Any], None]) -> None:
        self.events: list[Event[Any]] = []
        self.task = asyncio.create_task(self._collect(events))

    async def _collect(self, events: AsyncGenerator[Event[Any], None]) -> None:
        async with aclosing(events):
            async for event in events:
                self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def has(self, number: int) -> None:
        await wait_until(lambda: len(self.events) >= number, description=f"{number} events")


@asynccontextmanager
async def subscriber(url: str, *kinds: str | type[Message], **options: Any) -> AsyncIterator[Subscriber]:
    started = Subscriber(stenobus.subscribe(*kinds, url=url, **options))
    try:
        yield started
    finally:
        started.task.cancel()
        await asyncio.gather(started.task, return_exceptions=True)


def said(index: int, job: str = "j", text: str = "") -> Transcript:
    return Transcript(job=job, index=index, start=index, end=index + 1, text=text or f"sentence {index}")


def ending(job: str, segments: int) -> list[Message]:
    return [
        Closed(job=job, samples=SECOND, reason="stop"),
        Segmented(job=job, segments=segments, samples=SECOND),
        Summary(job=job, title="t", summary="s", engine="none"),
        Completed(job=job, segments=segments, samples=SECOND),
    ]


async def everything(bus: Bus) -> list[int]:
    return [raw.seq for raw in await bus.history("EVENTS", "events.>")]


async def test_a_late_subscriber_sees_each_event_once(bus: Bus, nats_server: Server) -> None:
    await bus.create(Opened(job="j"))
    for index in range(40):
        await bus.create(said(index))
    async with subscriber(nats_server.url) as late:
        await late.has(20)
        for index in range(40, 60):
            await bus.create(said(index))
        await late.has(50)
        await nats_server.kill()
        writing = asyncio.create_task(bus.create(said(60)))
        await nats_server.start()
        await writing
        for message in [*(said(index) for index in range(61, 100)), *ending("j", 100)]:
            await bus.create(message)
        await late.has(105)
    assert [event.seq for event in late.events] == await everything(bus)
    assert late.kinds == ["opened", *["transcript"] * 100, "closed", "segmented", "summary", "completed"]
    assert [event.message.index for event in late.events if event.kind == "transcript"] == list(range(100))


async def test_a_program_resumes_where_it_stopped(bus: Bus, nats_url: str) -> None:
    for message in [Opened(job="j"), *(said(index) for index in range(5)), *ending("j", 5)]:
        await bus.create(message)
    seen: list[int] = []
    last = 0
    for _ in range(4):  # each run is stopped after three events
        async with aclosing(stenobus.subscribe(url=nats_url, after=last, follow=False)) as events:
            async for event in events:
                assert event.seq is not None
                last = event.seq
                seen.append(last)
                if len(seen) % 3 == 0:
                    break
    assert seen == await everything(bus)
    async with subscriber(nats_url, after=last) as idle:
        await bus.create(Opened(job="k"))
        await idle.has(1)
    assert [event.message.job for event in idle.events] == ["k"]


async def test_kinds_and_a_job_can_be_selected(bus: Bus, nats_url: str) -> None:
    for job in "ab":
        for message in [Opened(job=job), said(0, job), *ending(job, 1)]:
            await bus.create(message)
    async with aclosing(stenobus.subscribe("transcript", Completed, job="b", url=nats_url, follow=False)) as events:
        found = [event async for event in events]
    assert [(event.kind, event.message) for event in found] == [
        ("transcript", said(0, "b")),
        ("completed", Completed(job="b", segments=1, samples=SECOND)),
    ]
    assert all(event.time.tzinfo is not None for event in found)


async def test_events_since_a_time(bus: Bus, nats_url: str) -> None:
    await bus.create(Opened(job="old"))
    at = (await bus.history("EVENTS", "events.>"))[0].time + timedelta(microseconds=1)
    await wait_until(lambda: datetime.now(UTC) > at, description="the clock goes on")
    await bus.create(Opened(job="new"))
    for since, jobs in ((at, ["new"]), (timedelta(hours=1), ["old", "new"]), (timedelta(), [])):
        async with aclosing(stenobus.subscribe(url=nats_url, since=since, follow=False)) as events:
            assert [event.message.job async for event in events] == jobs


async def test_live_events_come_besides_stored_ones(bus: Bus, nats_url: str) -> None:
    await bus.create(Opened(job="j"))
    async with subscriber(nats_url, "opened", "partial", "speaking") as following:
        await following.has(1)  # by then it listens
        await bus.publish(Speaking(job="j", index=0, start=0, end=1))
        await bus.publish(Partial(job="j", index=0, start=0, end=1, text="hel"))
        await bus.publish(said(0))
        await bus.create(Opened(job="k"))
        await following.has(4)
    assert sorted(following.kinds) == ["opened", "opened", "partial", "speaking"]
    partial = next(event for event in following.events if event.kind == "partial")
    assert (partial.seq, partial.message.text) == (None, "hel")
    assert partial.time.tzinfo is UTC


async def test_live_events_alone(bus: Bus, nats_url: str) -> None:
    async with subscriber(nats_url, "partial", job="j") as following:

        async def heard() -> bool:  # there is no past, so that nobody can tell when it begins to listen
            for job in "jk":
                await bus.publish(Partial(job=job, index=0, start=0, end=1, text=job))
            return bool(following.events)

        await wait_until(heard, description="a partial result")
    assert {event.message.text for event in following.events} == {"j"}


async def test_a_slow_subscriber_misses_no_stored_event(bus: Bus, nats_url: str) -> None:
    await asyncio.gather(*(bus.create(Opened(job=f"j{number}")) for number in range(600)))
    async with aclosing(stenobus.subscribe("opened", "partial", url=nats_url)) as events:
        first = await anext(events)
        for _ in range(2_000):
            await bus.publish(Partial(job="j", index=0, start=0, end=1, text="x"))
        found = [first.seq]
        async for event in events:
            if event.seq is not None:
                found.append(event.seq)
            if len(found) == 600:
                break
    assert found == await everything(bus)


async def test_a_mended_transcript_comes_again(bus: Bus, nats_url: str) -> None:
    failed = Transcript(job="j", index=0, start=0, end=1, text="", error="out of memory")
    await bus.create(failed)
    async with subscriber(nats_url, "transcript") as following:
        await following.has(1)
        await bus.replace(said(0, text="at last"))
        await following.has(2)
    assert [event.message.text for event in following.events] == ["", "at last"]


async def test_an_unreadable_event_is_logged_and_left_out(
    bus: Bus, nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await bus.store("events.j.opened", b"garbage")
    await bus.store("events.j.insights", Opened(job="j").encode())
    await bus.create(Dead(job="j", stream="EVENTS", seq=1, at="events.j.opened", reason="garbage"))
    async with aclosing(stenobus.subscribe(url=nats_url, follow=False)) as events:
        found = [(event.kind, type(event.message)) async for event in events]
    assert found == [("insights", stenobus.Other), ("dead", Dead)]
    assert "event cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("kinds", "options", "says"),
    [
        (["transcripts"], {}, "unknown kind 'transcripts'; accepted: events, live, opened, closed, segmented"),
        ([], {"job": "a.b"}, "'a.b' is not the id of a job"),
        ([], {"after": -1}, "after=-1"),
        ([], {"after": 1, "since": timedelta(1)}, "give after or since, not both"),
        ([], {"since": datetime(2025, 3, 4)}, "since has no time zone"),
        (["partial"], {"follow": False}, "can only be followed"),
        ([], {"url": "http://x"}, "'http://x' is not an address like nats://HOST:PORT"),
    ],
)
def test_bad_arguments_are_refused_at_once(kinds: list[str], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        stenobus.subscribe(*kinds, **options)


async def test_a_missing_bus_is_an_error(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", f"nats://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{unused_tcp_port}: connection refused"):
        await anext(stenobus.subscribe(connect_within=0.2))
