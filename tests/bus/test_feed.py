"""Following a job's audio: every message once and in order, whatever is lost or killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bus import Bus, connect
from bus.feed import Feed, StoredAudio, Work, _Follower
from compose.servers import Server
from contract.audio import AudioFrame, encode_audio
from tests.support import wait_until


async def store(bus: Bus, job: str, numbers: range) -> None:
    for number in numbers:
        await bus.store(f"audio.{job}", str(number).encode())


@asynccontextmanager
async def following(feed: Feed, job: str, *, after: int = 0) -> AsyncIterator[list[int]]:
    """The numbers of the messages that a job's handler got so far."""
    heard: list[int] = []

    def handle(stored: list[StoredAudio]) -> Work | None:
        numbers = [int(data) for _, data in stored]
        heard.extend(numbers)
        return work(heard[-1]) if any(number % 7 == 3 for number in numbers) else None

    async def work(number: int) -> bool:
        await asyncio.sleep(0.001)
        assert heard[-1] == number, "nothing is heard while there is work"
        return False

    task = asyncio.create_task(feed.follow(job, handle, after=after))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_of(heard: list[int], count: int) -> None:
    await wait_until(lambda: len(heard) >= count, description=f"{count} messages")
    assert heard == list(range(count))


@pytest.mark.parametrize("many", [1, 100])
async def test_stored_audio_comes_first_then_new_audio(bus: Bus, many: int) -> None:
    await store(bus, "a", range(300))
    async with Feed(bus, many) as feed, following(feed, "a") as heard:
        await all_of(heard, 300)
        await store(bus, "a", range(300, 400))
        await all_of(heard, 400)


async def test_a_reader_of_many_jobs_reads_less_often(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that came meanwhile is then handled at once."""
    monkeypatch.setattr("bus.feed.READ_DELAY", 0.3)
    async with Feed(bus, 2) as feed, following(feed, "a") as one:
        await store(bus, "a", range(1))
        await all_of(one, 1)
        async with following(feed, "b") as other:
            await store(bus, "b", range(1))
            await all_of(other, 1)
            await store(bus, "a", range(1, 50))  # waits until each is stored and republished
            assert len(one) < 50
            await all_of(one, 50)


async def test_a_reader_of_many_jobs_handles_audio_in_strides(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only sound waits for more sound, and not for long."""
    monkeypatch.setattr("bus.feed.STRIDE", 2 * (16 + 960))
    taken: list[list[int]] = []

    def handle(stored: list[StoredAudio]) -> Work | None:
        taken.append([seq for seq, _ in stored])
        return None

    async with Feed(bus, 1) as feed:
        following = asyncio.create_task(feed.follow("a", handle))
        await wait_until(lambda: feed._client.read_delay, description="it follows")
        (follower,) = feed._followers
        await wait_until(lambda: follower._waiting is not None, description="it has read the stream")
        other = asyncio.create_task(feed.follow("b", lambda _: None))
        await wait_until(lambda: follower.stride == 4 * (16 + 960), description="there are two")
        for at in range(11):
            cut = AudioFrame(at * 480, b"", cut=True)
            await bus.store("audio.a", encode_audio(cut if at == 5 else AudioFrame(at * 480, bytes(960))))
        await wait_until(lambda: sum(map(len, taken)) == 11, description="all of it")
        following.cancel()
        other.cancel()
    assert taken == [[1, 2, 3, 4], [5, 6], [7, 8, 9, 10], [11]]


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
    """Make the feed lose the messages with these numbers."""
    on_message = _Follower.on_message

    def sometimes(self: _Follower, subject: bytes, headers: bytes, data: bytes) -> None:
        if not lost(int(data)):
            on_message(self, subject, headers, data)

    monkeypatch.setattr(_Follower, "on_message", sometimes)


@pytest.mark.parametrize("seed", range(4))
async def test_messages_that_the_feed_loses_are_read_from_the_stream(
    bus: Bus, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)  # noqa: S311
    losing(monkeypatch, lambda number: chance.random() < 0.2 and number < 299)
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await store(bus, "a", range(300))
        await all_of(heard, 300)


async def test_a_lost_last_message_is_found_in_the_silence_after_it(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.feed._SHORTEST_SILENCE", 1)
    losing(monkeypatch, lambda number: number >= 8)
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await store(bus, "a", range(10))
        await all_of(heard, 10)


@pytest.mark.parametrize("many", [1, 100])
async def test_a_crash_of_the_server_loses_and_repeats_nothing(nats_server: Server, many: int) -> None:
    async with connect(nats_server.url) as bus, Feed(bus, many) as feed, following(feed, "a") as heard:
        storing = asyncio.create_task(store(bus, "a", range(2_000)))
        for part in (400, 1_200):
            await wait_until(lambda part=part: len(heard) > part, description="some of it")
            await nats_server.kill()
            await nats_server.start()
        await storing
        # A message whose ack was lost when the server died was stored again.
        stored = [int(raw.data) for raw in await bus.history("AUDIO", "audio.a")]
        assert sorted(set(stored)) == list(range(2_000))
        await wait_until(lambda: len(heard) >= len(stored), description="all of it")
        assert heard == stored


async def test_a_slow_handler_gets_everything_with_bounded_memory(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.feed.MAX_WAITING", 10)
    heard: list[int] = []
    ready, go_on = asyncio.Event(), asyncio.Event()

    def handle(stored: list[StoredAudio]) -> Work | None:
        heard.extend(int(data) for _, data in stored)
        return work() if heard[0] == heard[-1] or heard[-1] == 499 else None

    async def work() -> bool:
        ready.set()
        await go_on.wait()
        return heard[-1] == 499

    async with Feed(bus) as feed:
        following = asyncio.create_task(feed.follow("a", handle))
        await store(bus, "a", range(1))
        await ready.wait()
        await store(bus, "a", range(1, 500))
        (follower,) = feed._followers
        await wait_until(lambda: follower.missed, description="more than it holds")
        assert (heard, follower.waiting) == ([0], 10)
        go_on.set()
        async with asyncio.timeout(60):
            await following
    assert heard == list(range(500))


async def test_following_ends_when_the_work_returns_true(bus: Bus) -> None:
    heard: list[int] = []

    def handle(stored: list[StoredAudio]) -> Work | None:
        heard.extend(int(data) for _, data in stored)
        return end() if 3 in heard else None

    async def end() -> bool:
        return True

    async with Feed(bus) as feed, asyncio.timeout(60):
        following = asyncio.create_task(feed.follow("a", handle))
        await wait_until(lambda: feed._followers, description="it follows")
        await store(bus, "a", range(4))
        await following
        await store(bus, "a", range(4, 6))
        assert heard == [0, 1, 2, 3]
        assert not feed._followers
        await feed.follow("a", handle, after=3)  # what is stored already ends it too
        assert heard == [0, 1, 2, 3, 3]


async def test_an_exception_of_a_handler_ends_only_its_job(bus: Bus) -> None:
    def handle(stored: list[StoredAudio]) -> Work | None:
        raise ValueError(stored[0][1].decode())

    async with Feed(bus) as feed, following(feed, "b") as other, asyncio.timeout(60):
        failing = asyncio.create_task(feed.follow("a", handle))
        await wait_until(lambda: len(feed._followers) == 2, description="both follow")
        await store(bus, "a", range(1))
        with pytest.raises(ValueError, match="0"):
            await failing
        await store(bus, "b", range(3))
        await all_of(other, 3)


async def test_removed_audio_does_not_stop_following(bus: Bus) -> None:
    async with Feed(bus) as feed, following(feed, "a") as heard:
        await store(bus, "a", range(5))
        await all_of(heard, 5)
        await bus.connection.js.purge_stream("AUDIO", subject="audio.a")
        await store(bus, "a", range(5, 8))
        await all_of(heard, 8)


def headers(seq: int, last: int) -> bytes:
    return b"NATS/1.0\r\nNats-Stream: AUDIO\r\nNats-Sequence: %d\r\nNats-Last-Sequence: %d\r\n\r\n" % (seq, last)


def follower(heard: list[int], position: int) -> _Follower:
    new = _Follower(lambda stored: heard.extend(seq for seq, _ in stored), position)
    new.restart()
    return new


async def test_repeats_are_dropped_and_a_missing_message_stops_the_rest() -> None:
    heard: list[int] = []
    one = follower(heard, 3)
    for seq, last in ((3, 1), (5, 3), (5, 3), (9, 7), (10, 9)):
        one.on_message(b"", headers(seq, last), b"")
    assert not await one.work()
    assert (heard, one.missed) == ([5], True)


async def test_the_first_message_need_not_follow_on_any() -> None:
    heard: list[int] = []
    one = follower(heard, 3)
    one.on_message(b"", headers(8, 0), b"")
    assert not await one.work()
    assert (heard, one.missed) == ([8], False)


async def test_a_feed_without_sequences_is_an_error() -> None:
    one = follower([], 0)
    one.on_message(b"", b"NATS/1.0\r\nOther: 1\r\n\r\n", b"")
    with pytest.raises(ValueError, match="Nats-Sequence"):
        await one.work()


async def test_a_failure_of_the_watch_ends_the_feed(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow() -> None:
        async with Feed(bus) as feed:
            await feed.follow("a", lambda _: None)

    monkeypatch.setattr(_Follower, "on_tick", lambda _follower, _seconds: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await follow()
