from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from bus import Bus, Retry, connect, serve
from bus.dead import Expired, NotRetryable, UnknownLetter, letters, redrive
from contract import Closed, ContractError, Dead, Message, Opened, Redrive, Redriven, Segmented, parse_event
from tests.support import wait_until

DEAD = "events.a.dead.EVENTS.1"
OUTPUT = "events.a.segmented"


def good(opened: Opened) -> list[Message]:
    return [Segmented(job=opened.job, segments=1, samples=1), Closed(job=opened.job, samples=1, reason="stop")]


async def failed(opened: Opened, _reason: str) -> list[Message]:
    """The value that says it failed."""
    return [Segmented(job=opened.job, segments=0, samples=0)]


class Handler:
    """Does what each of `outcomes` says in turn, then succeeds."""

    def __init__(self, *outcomes: Exception) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    async def __call__(self, opened: Opened) -> Sequence[Message]:
        self.calls += 1
        if self.outcomes:
            raise self.outcomes.pop(0)
        return good(opened)


@asynccontextmanager
async def worker(
    url: str, handle: Handler, durable: str = "w", attempts: int = 1, ack_wait: float = 30
) -> AsyncIterator[Bus]:
    async with connect(url) as bus:
        serving = asyncio.create_task(
            serve(bus, Opened, handle, durable=durable, attempts=attempts, failed=failed, ack_wait=ack_wait, at_once=4)
        )
        try:
            yield bus
        finally:
            bus.stopping.set()
            await serving


async def events(bus: Bus, job: str = "a") -> list[Message | None]:
    return [parse_event(raw.subject, raw.data) for raw in await bus.history("EVENTS", f"events.{job}.>")]


async def gone(bus: Bus) -> bool:
    return await bus.last_raw(DEAD) is None


def says(bus: Bus, reason: str) -> Callable[[], object]:
    async def check() -> bool:
        dead = await bus.last(Dead, DEAD)
        return dead is not None and dead.value.reason == reason

    return check


async def settled(bus: Bus) -> bool:
    """Whether everything delivered to the worker is acked, requests for a retry too."""
    infos = [info for info in await bus.connection.js.consumers_info("EVENTS") if info.name in ("w", "w-redrive")]
    return len(infos) == 2 and not any(info.num_pending or info.num_ack_pending for info in infos)


async def test_a_retry_replaces_the_failed_value(bus: Bus, nats_url: str) -> None:
    handle = Handler(RuntimeError("not today"))
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, handle):
        await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
        await wait_until(lambda: bus.last_raw(OUTPUT), description="the failed value")
        asked = await redrive(bus, "a", "EVENTS", 1)
        await wait_until(lambda: gone(bus), description="the dead letter is removed")
        await wait_until(lambda: settled(bus), description="the request is acked")
    assert asked == Redrive(job="a", worker="w", stream="EVENTS", seq=1)
    done = Redriven(job="a", worker="w", stream="EVENTS", seq=1)
    assert await events(bus) == [Opened(job="a"), asked, *good(Opened(job="a")), done]


async def test_a_refused_message_can_be_retried(bus: Bus, nats_url: str) -> None:
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, Handler(ContractError("no such thing"))):
        await wait_until(says(bus, "no such thing"), description="the dead letter")
        await redrive(bus, "a", "EVENTS", 1)
        await wait_until(lambda: gone(bus), description="the dead letter is removed")
    assert await bus.last_raw(OUTPUT)


@pytest.mark.parametrize("again", [RuntimeError("nor tomorrow"), ContractError("RuntimeError: nor tomorrow")])
async def test_a_message_that_fails_again_stays_dead_with_the_new_reason(
    bus: Bus, nats_url: str, again: Exception
) -> None:
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, Handler(RuntimeError("not today"), again)):
        await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
        (before,) = await letters(bus, limit=9)
        await redrive(bus, "a", "EVENTS", 1)
        await wait_until(says(bus, "RuntimeError: nor tomorrow"), description="the new reason")
        (after,) = await letters(bus, limit=9)
        assert after.at > before.at
        stand_in = await bus.last(Segmented, OUTPUT)
        assert stand_in is not None
        assert stand_in.value.segments == 0
        await redrive(bus, "a", "EVENTS", 1)
        await wait_until(lambda: gone(bus), description="the dead letter is removed in the end")


async def test_a_retry_has_as_many_attempts_as_the_message_had(bus: Bus, nats_url: str) -> None:
    handle = Handler(*(RuntimeError("not today") for _ in range(2)), Retry(0.05), RuntimeError("nearly"))
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, handle, attempts=2):
        await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
        handle.outcomes.clear()
        handle.outcomes.append(RuntimeError("nearly"))
        await redrive(bus, "a", "EVENTS", 1)
        await wait_until(lambda: gone(bus), description="the dead letter is removed")
    assert handle.calls == 4


async def test_a_retry_requested_twice_is_done_once(bus: Bus, nats_url: str) -> None:
    handle = Handler(RuntimeError("not today"))
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, handle):
        await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
        await wait_until(lambda: settled(bus), description="it is given up")
    for _ in range(2):
        await redrive(bus, "a", "EVENTS", 1)
    async with worker(nats_url, handle):
        await wait_until(lambda: settled(bus), description="both requests are acked")
    assert handle.calls == 2
    assert await gone(bus)


async def test_only_the_worker_that_gave_the_message_up_retries_it(bus: Bus, nats_url: str) -> None:
    handle, other = Handler(RuntimeError("not today")), Handler()
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, other, "v"):
        await wait_until(lambda: bus.last_raw(OUTPUT), description="the other worker's output")
        async with worker(nats_url, handle):
            await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
            await redrive(bus, "a", "EVENTS", 1)
            await wait_until(lambda: gone(bus), description="the dead letter is removed")
    assert (handle.calls, other.calls) == (2, 1)


@pytest.mark.parametrize(
    "left", [[], ["outputs"], ["outputs", "redriven"], ["outputs", "redriven", "removed"]], ids=lambda left: str(left)
)
async def test_after_a_crash_at_any_step_the_next_worker_finishes_the_retry(
    bus: Bus, nats_url: str, left: list[str]
) -> None:
    opened = Opened(job="a")
    await bus.publish(opened)
    async with worker(nats_url, Handler(RuntimeError("not today"))):
        await wait_until(lambda: settled(bus), description="it is given up")
    await redrive(bus, "a", "EVENTS", 1)
    if "outputs" in left:
        for output in good(opened):
            await bus.replace(output)
    if "redriven" in left:
        await bus.publish(Redriven(job="a", worker="w", stream="EVENTS", seq=1))
    if "removed" in left:
        await bus.connection.js.purge_stream("EVENTS", subject=DEAD)
    handle = Handler()
    async with worker(nats_url, handle):
        await wait_until(lambda: settled(bus), description="the request is acked")
    assert handle.calls == (0 if "redriven" in left else 1)
    kinds = sorted(type(event).__name__ for event in await events(bus))
    assert kinds == ["Closed", "Opened", "Redrive", "Redriven", "Segmented"]
    result = await bus.last(Segmented, OUTPUT)
    assert result is not None
    assert result.value.segments == 1


async def test_a_retry_moves_on_when_its_worker_dies(bus: Bus, nats_url: str) -> None:
    started = asyncio.Event()

    async def never(_opened: Opened) -> Sequence[Message]:
        started.set()
        await asyncio.Event().wait()
        return []

    await bus.publish(Opened(job="a"))
    async with worker(nats_url, Handler(RuntimeError("not today")), ack_wait=1):
        await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
        await wait_until(lambda: settled(bus), description="it is given up")
    await redrive(bus, "a", "EVENTS", 1)
    async with connect(nats_url) as victim:
        serving = asyncio.create_task(serve(victim, Opened, never, durable="w", attempts=1, failed=failed, ack_wait=1))
        await started.wait()
        await victim.connection.nc.close()  # nothing that it still sends arrives
        serving.cancel()
    async with worker(nats_url, Handler(), ack_wait=1):
        await wait_until(lambda: gone(bus), description="the dead letter is removed")
    result = await bus.last(Segmented, OUTPUT)
    assert result is not None
    assert result.value.segments == 1


async def test_garbage_cannot_be_retried(bus: Bus, nats_url: str) -> None:
    await bus.connection.js.publish("events.a.opened", b"garbage")
    async with worker(nats_url, Handler()):
        await wait_until(lambda: bus.last_raw(DEAD), description="the dead letter")
    reason = "message 1 of EVENTS cannot be tried again: not a Opened: not a msgpack map"
    with pytest.raises(NotRetryable, match=reason):
        await redrive(bus, "a", "EVENTS", 1)


async def test_a_message_that_has_aged_out_cannot_be_retried(bus: Bus, nats_url: str) -> None:
    await bus.publish(Opened(job="a"))
    async with worker(nats_url, Handler(RuntimeError("not today"))):
        await wait_until(says(bus, "RuntimeError: not today"), description="the dead letter")
        await wait_until(lambda: settled(bus), description="it is given up")
    await redrive(bus, "a", "EVENTS", 1)
    await bus.connection.js.delete_msg("EVENTS", 1)
    with pytest.raises(Expired, match="message 1 of EVENTS has aged out"):
        await redrive(bus, "a", "EVENTS", 1)
    handle = Handler()
    async with worker(nats_url, handle):
        await wait_until(lambda: settled(bus), description="the request from before is acked")
    assert handle.calls == 0
    assert not await gone(bus)


@pytest.mark.parametrize(
    ("job", "stream", "seq"),
    [("a", "EVENTS", 7), ("b", "EVENTS", 1), ("*", "EVENTS", 1), ("a", ">", 1), ("a b", "", 1)],
)
async def test_an_unknown_dead_letter_is_an_error(bus: Bus, job: str, stream: str, seq: int) -> None:
    await bus.publish(Dead(job="a", stream="EVENTS", seq=1, at="events.a.opened", reason="x", worker="w"))
    with pytest.raises(UnknownLetter, match="no dead letter of job"):
        await redrive(bus, job, stream, seq)


async def test_an_unreadable_dead_letter_is_unknown_and_not_listed(bus: Bus) -> None:
    await bus.connection.js.publish(DEAD, b"garbage")
    with pytest.raises(UnknownLetter):
        await redrive(bus, "a", "EVENTS", 1)
    assert await letters(bus, limit=9) == []


async def test_letters_are_listed_newest_first(bus: Bus) -> None:
    assert await letters(bus, limit=9) == []
    for seq, job in enumerate("abab", 1):
        await bus.publish(Dead(job=job, stream="SPEECH", seq=seq, at=f"speech.{job}", reason="x"))
    assert [letter.dead.seq for letter in await letters(bus, limit=9)] == [4, 3, 2, 1]
    assert [letter.dead.seq for letter in await letters(bus, limit=3)] == [4, 3, 2]
    assert [letter.dead.seq for letter in await letters(bus, "b", limit=9)] == [4, 2]
