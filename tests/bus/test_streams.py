from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from nats.js.api import ConsumerInfo

from bus import Bus, Conflict, connect
from compose.servers import Server
from contract import Closed, Completed, ContractError, JobOptions, Opened, Segmented
from tests.support import wait_until


def closed(samples: int, job: str = "a") -> Closed:
    return Closed(job=job, samples=samples, reason="stop")


async def collect(bus: Bus, subject: str, into: list[int], after: int = 0) -> None:
    async with aclosing(bus.read("EVENTS", subject, after=after)) as stored:
        async for raw in stored:
            into.append(Closed.decode(raw.data).samples)  # noqa: PERF401 - it has no end


async def test_publish_returns_when_the_message_is_stored(bus: Bus) -> None:
    assert await bus.publish(closed(1)) == 1
    assert await bus.publish(closed(2)) == 2
    last = await bus.last(Closed, Closed.pattern("a"))
    assert last is not None
    assert (last.seq, last.value.samples) == (2, 2)


async def test_create_writes_once(bus: Bus) -> None:
    assert await bus.create(closed(1))
    assert not await bus.create(closed(2))
    assert [raw.seq for raw in await bus.history("EVENTS", "events.a.>")] == [1]


async def test_append_is_fenced(bus: Bus) -> None:
    first = await bus.append(closed(1), 0)
    second = await bus.append(closed(2), first)
    with pytest.raises(Conflict, match="has gone on: last sequence 2") as caught:
        await bus.append(closed(3), first)
    assert caught.value.found is not None
    assert caught.value.found.seq == second
    await bus.append(closed(4, job="b"), 0)


async def test_append_after_a_removed_message_finds_nothing(bus: Bus) -> None:
    with pytest.raises(Conflict, match="none") as caught:
        await bus.append(closed(1), 7)
    assert caught.value.found is None


async def test_the_last_message_of_an_empty_subject_is_none(bus: Bus) -> None:
    assert await bus.last(Closed, Closed.pattern("nobody")) is None


async def test_the_last_message_may_be_garbage(bus: Bus) -> None:
    await bus.connection.js.publish("events.a.closed", b"garbage")
    with pytest.raises(ContractError, match="not a Closed"):
        await bus.last(Closed, Closed.pattern("a"))


async def test_a_message_larger_than_the_server_takes_is_not_retried(bus: Bus) -> None:
    with pytest.raises(ContractError, match="larger than the server takes"):
        await bus.publish(Opened(job="a", options=JobOptions(metadata={"x": "x" * 1_100_000})))


async def test_read_yields_stored_messages_then_new_ones_in_order(bus: Bus) -> None:
    for samples in range(600):  # more than one batch
        await bus.publish(closed(samples))
    await bus.publish(closed(0, job="other"))
    seen: list[int] = []
    reading = asyncio.create_task(collect(bus, "events.a.>", seen))
    await wait_until(lambda: len(seen) == 600, description="the history")
    await bus.publish(closed(600))
    await wait_until(lambda: len(seen) == 601, description="the live message")
    assert seen == list(range(601))
    reading.cancel()


async def test_read_begins_behind_a_sequence(bus: Bus) -> None:
    for samples in range(5):
        await bus.publish(closed(samples))
    seen: list[int] = []
    reading = asyncio.create_task(collect(bus, "events.a.>", seen, after=3))
    await wait_until(lambda: len(seen) == 2, description="the messages behind the third")
    assert seen == [3, 4]
    reading.cancel()


async def test_history_ends_at_the_present(bus: Bus) -> None:
    assert await bus.history("EVENTS", "events.a.>") == []
    await bus.publish(Opened(job="a"))
    await bus.publish(closed(3))
    await bus.publish(Completed(job="b", segments=0, samples=3))
    assert [raw.subject for raw in await bus.history("EVENTS", "events.a.>")] == ["events.a.opened", "events.a.closed"]


async def test_history_ends_if_its_last_message_is_removed_meanwhile(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    new_reader = bus._new_reader

    async def remove_then_read(stream: str, subject: str, start: int) -> ConsumerInfo:
        found = await new_reader(stream, subject, start)
        await bus.connection.js.purge_stream("EVENTS", seq=3)
        await bus.connection.js.purge_stream("EVENTS", subject="events.a.closed")
        return found

    await bus.publish(Opened(job="a"))
    await bus.publish(closed(1))
    monkeypatch.setattr(bus, "_new_reader", remove_then_read)
    assert len(await bus.history("EVENTS", "events.a.>")) <= 1


async def test_a_read_leaves_no_consumer_behind(bus: Bus) -> None:
    await bus.publish(closed(1))
    for _ in range(3):
        await bus.history("EVENTS", "events.a.>")
        await bus.history("EVENTS", "events.nobody.>")
    seen: list[int] = []
    reading = asyncio.create_task(collect(bus, "events.a.>", seen))
    await wait_until(lambda: seen, description="the message")
    reading.cancel()

    async def gone() -> bool:
        return not await bus.connection.js.consumers_info("EVENTS")

    await wait_until(gone, description="all consumers are gone")


async def test_a_crash_of_the_server_neither_loses_nor_doubles_anything(nats_server: Server) -> None:
    async with connect(nats_server.url) as writer, connect(nats_server.url) as reader:
        seen: list[int] = []
        reading = asyncio.create_task(collect(reader, "events.a.>", seen))

        async def write() -> None:
            for samples in range(300):
                await writer.publish(closed(samples))

        writing = asyncio.create_task(write())
        await wait_until(lambda: len(seen) > 50, description="some messages")
        await nats_server.kill()
        await nats_server.start()
        await writing
        await wait_until(lambda: bool(seen) and seen[-1] == 299, description="the last message")
        # A publish whose ack was lost in the crash is repeated, so one message may be stored twice; none is missing.
        assert list(dict.fromkeys(seen)) == list(range(300))
        assert len(seen) == len(await reader.history("EVENTS", "events.a.>"))
        reading.cancel()


async def test_a_deleted_consumer_is_created_again(bus: Bus) -> None:
    seen: list[int] = []
    await bus.publish(closed(0))
    reading = asyncio.create_task(collect(bus, "events.a.>", seen))
    await wait_until(lambda: seen == [0], description="the first message")
    for consumer in await bus.connection.js.consumers_info("EVENTS"):
        await bus.connection.js.delete_consumer("EVENTS", consumer.name)
    await bus.publish(closed(1))
    await wait_until(lambda: seen == [0, 1], description="the message after the consumer was deleted")
    reading.cancel()


async def test_of_concurrent_creates_one_succeeds(bus: Bus) -> None:
    results = await asyncio.gather(*(bus.create(Segmented(job="a", segments=n, samples=n)) for n in range(20)))
    assert results.count(True) == 1


async def test_replace_is_atomic(bus: Bus) -> None:
    await bus.publish(Completed(job="a", segments=0, samples=0))

    async def write() -> None:
        for samples in range(1, 100):
            await bus.replace(Completed(job="a", segments=0, samples=samples))

    writing = asyncio.create_task(write())
    looks = 0
    while not writing.done():
        last = await bus.last(Completed, "events.a.completed")
        assert last is not None
        looks += 1
    await writing
    assert looks > 1
    assert [Completed.decode(raw.data).samples for raw in await bus.history("EVENTS", "events.>")] == [99]


async def test_the_position_of_a_time(bus: Bus) -> None:
    begun = datetime.now(UTC)
    for job in ("a", "b"):
        await bus.publish(Opened(job=job))
    between = (await bus.history("EVENTS", "events.>"))[-1].time + timedelta(microseconds=1)
    await wait_until(lambda: datetime.now(UTC) > between, description="the clock goes on")
    await bus.publish(Opened(job="c"))
    assert await bus.position("EVENTS", begun - timedelta(days=400)) == 0
    assert await bus.position("EVENTS", begun) == 0
    assert await bus.position("EVENTS", between) == 2
    assert await bus.position("EVENTS", datetime.now(UTC) + timedelta(days=1)) == 3
    assert await bus.position("AUDIO", begun) == 0  # which is empty
    await bus.connection.js.purge_stream("EVENTS")
    assert await bus.position("EVENTS", begun) == 3


async def test_asking_for_a_position_leaves_no_consumer_behind(bus: Bus) -> None:
    await bus.position("EVENTS", datetime.now(UTC))

    async def left() -> bool:
        return not await bus.connection.js.consumers_info("EVENTS")

    await wait_until(left, description="no consumer is left")
