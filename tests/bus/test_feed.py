"""Following a job's audio: every message once and in order, whatever the feed loses and whoever is killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from bus import Bus, connect
from bus.feed import Feed, _Follower, read_stored
from compose.servers import Server
from tests.support import wait_until


async def store(bus: Bus, job: str, numbers: range) -> None:
    for number in numbers:
        await bus.store(f"audio.{job}", str(number).encode())


@asynccontextmanager
async def following(feed: Feed, job: str, *, after: int = 0) -> AsyncIterator[list[int]]:
    """The numbers that a follower of a job has been given so far."""
    heard: list[int] = []

    async def follow() -> None:
        async with aclosing(feed.follow(job, after=after)) as batches:
            async for entries in batches:
                heard.extend(int(entry.data) for entry in entries)

    task = asyncio.create_task(follow())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_of(heard: list[int], count: int) -> None:
    await wait_until(lambda: len(heard) >= count, description=f"{count} messages")
    assert heard == list(range(count))


async def test_what_was_stored_before_comes_first_then_what_is_stored(bus: Bus) -> None:
    await store(bus, "a", range(300))
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await all_of(heard, 300)
        await store(bus, "a", range(300, 400))
        await all_of(heard, 400)


async def test_reading_begins_behind_a_sequence(bus: Bus) -> None:
    await store(bus, "b", range(3))
    await store(bus, "a", range(10))
    async with Feed(bus) as feed, following(feed, "a", after=3 + 4) as heard:
        await store(bus, "a", range(10, 12))
        await wait_until(lambda: len(heard) == 8, description="what comes after")
    assert heard == list(range(4, 12))


async def test_jobs_do_not_mix(bus: Bus) -> None:
    async with Feed(bus) as feed, following(feed, "a") as one, following(feed, "b") as other:
        await asyncio.gather(store(bus, "a", range(50)), store(bus, "b", range(70)), store(bus, "c", range(20)))
        await all_of(one, 50)
        await all_of(other, 70)


def losing(monkeypatch: pytest.MonkeyPatch, lost: Callable[[int], bool]) -> None:
    """The feed loses messages, by their numbers."""
    hear = _Follower.hear

    def sometimes(self: _Follower, subject: bytes, headers: bytes, data: bytes) -> None:
        if not lost(int(data)):
            hear(self, subject, headers, data)

    monkeypatch.setattr(_Follower, "hear", sometimes)


@pytest.mark.parametrize("seed", range(4))
async def test_what_the_feed_loses_is_read_from_the_stream(
    bus: Bus, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)  # noqa: S311
    losing(monkeypatch, lambda number: chance.random() < 0.2 and number < 299)
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await store(bus, "a", range(300))
        await all_of(heard, 300)


async def test_a_lost_last_message_is_found_in_the_silence_after_it(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.feed._QUIET", 1)
    losing(monkeypatch, lambda number: number >= 8)
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await store(bus, "a", range(10))
        await all_of(heard, 10)


async def test_a_crash_of_the_server_loses_and_repeats_nothing(nats_server: Server) -> None:
    async with connect(nats_server.url) as bus, Feed(bus) as feed, following(feed, "a") as heard:
        storing = asyncio.create_task(store(bus, "a", range(2_000)))
        for part in (400, 1_200):
            await wait_until(lambda part=part: len(heard) > part, description="some of it")
            await nats_server.kill()
            await nats_server.start()
        await storing
        await all_of(heard, 2_000)


async def test_a_slow_reader_is_given_all_and_holds_little(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.feed.MOST_WAITING", 10)
    heard: list[int] = []
    async with Feed(bus) as feed, aclosing(feed.follow("a")) as batches:
        await store(bus, "a", range(1))
        heard += [int(entry.data) for entry in await anext(batches)]
        await store(bus, "a", range(1, 500))
        (follower,) = feed._followers
        await wait_until(lambda: follower.missed, description="more than it holds")
        assert follower.waiting == 10
        while len(heard) < 500:
            heard += [int(entry.data) for entry in await anext(batches)]
    assert heard == list(range(500))


async def test_audio_that_is_removed_does_not_stop_it(bus: Bus) -> None:
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await store(bus, "a", range(5))
        await all_of(heard, 5)
        await bus.js.purge_stream("AUDIO", subject="audio.a")
        await store(bus, "a", range(5, 8))
        await all_of(heard, 8)


async def test_what_is_stored_now_is_read_to_its_end(bus: Bus) -> None:
    await store(bus, "a", range(600))
    for after in (0, 599, 600):
        batches = [entries async for entries in read_stored(bus, "a", after)]
        assert [int(entry.data) for entries in batches for entry in entries] == list(range(after, 600))


def told(seq: int, last: int) -> bytes:
    return b"NATS/1.0\r\nNats-Stream: AUDIO\r\nNats-Sequence: %d\r\nNats-Last-Sequence: %d\r\n\r\n" % (seq, last)


async def test_repeats_are_dropped_and_a_hole_stops_what_follows() -> None:
    follower = _Follower()
    follower.begin_again()
    for seq, last in ((3, 1), (5, 3), (5, 3), (9, 7), (10, 9)):
        follower.hear(b"", told(seq, last), b"%d" % seq)
    assert [entry.seq for entry in follower.take(3)] == [5]
    assert follower.missed


async def test_what_was_before_may_be_gone() -> None:
    follower = _Follower()
    follower.begin_again()
    follower.hear(b"", told(8, 0), b"")
    assert [entry.seq for entry in follower.take(3)] == [8]
    assert not follower.missed


def test_a_feed_without_sequences_is_an_error() -> None:
    follower = _Follower()
    follower.hear(b"", b"NATS/1.0\r\nOther: 1\r\n\r\n", b"")
    with pytest.raises(ValueError, match="Nats-Sequence"):
        follower.take(0)
