from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bus import Bus, Fenced, Retry, connect, lease, serve
from bus.serve import Outputs, _Worker
from compose.servers import Server
from contract import Closed, Completed, ContractError, Dead, Message, Opened, Segmented, parse_event
from tests.support import wait_until


def segmented(opened: Opened, n: int = 1) -> list[Message]:
    return [Segmented(job=opened.job, segments=n, samples=n)]


async def events(bus: Bus, job: str) -> list[Message | None]:
    return [parse_event(raw.subject, raw.data) for raw in await bus.history("EVENTS", f"events.{job}.>")]


async def settled(bus: Bus, durable: str) -> bool:
    info = {consumer.name: consumer for consumer in await bus.connection.js.consumers_info("EVENTS")}.get(durable)
    # Right after its creation the server may not have counted yet what there is for it.
    if info is None or info.delivered is None or info.delivered.consumer_seq == 0:
        return False
    return info.num_ack_pending == 0 and info.num_pending == 0


async def stop(bus: Bus, serving: asyncio.Task[None]) -> None:
    bus.stopping.set()
    await serving


async def none(*_: object) -> Outputs:
    return []


async def test_outputs_are_stored_before_the_message_is_acked(bus: Bus) -> None:
    async def handle(opened: Opened) -> Sequence[Message]:
        return segmented(opened)

    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w"))
    await bus.publish(Opened(job="b"))
    for job in "ab":
        await wait_until(lambda job=job: bus.last_raw(f"events.{job}.segmented"), description=f"the output for {job}")
    await wait_until(lambda: settled(bus, "w"), description="both are acked")
    await stop(bus, serving)


async def test_handling_a_message_twice_stores_its_output_once(bus: Bus) -> None:
    async def handle(opened: Opened) -> Sequence[Message]:
        return segmented(opened)

    await bus.publish(Opened(job="a"))
    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w"))
    await wait_until(lambda: settled(bus, "w"), description="both are acked")
    assert len([e for e in await events(bus, "a") if isinstance(e, Segmented)]) == 1
    await stop(bus, serving)


async def test_the_number_of_messages_in_flight_is_bounded(bus: Bus) -> None:
    running, most = 0, 0

    async def handle(opened: Opened) -> Sequence[Message]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await bus.connection.flushed()
        running -= 1
        return segmented(opened)

    for n in range(30):
        await bus.publish(Opened(job=f"j{n}"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w", at_once=3))
    await wait_until(lambda: settled(bus, "w"), description="all are done")
    assert 1 <= most <= 3
    await stop(bus, serving)


@pytest.mark.parametrize("garbage", [b"garbage", Opened(job="other").encode()])
async def test_garbage_becomes_a_dead_letter_and_stops_nothing(bus: Bus, garbage: bytes) -> None:
    async def handle(opened: Opened) -> Sequence[Message]:
        return segmented(opened)

    await bus.connection.nc.publish("events.a.opened", garbage)
    await bus.connection.flushed()
    await bus.publish(Opened(job="b"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w"))
    await wait_until(lambda: settled(bus, "w"), description="both are settled")
    dead = await bus.last(Dead, "events.a.dead.EVENTS.1")
    assert dead is not None
    assert (dead.value.stream, dead.value.seq, dead.value.at) == ("EVENTS", 1, "events.a.opened")
    assert dead.value.worker == ""  # nobody needs to try again
    assert await bus.last_raw("events.b.segmented")
    await stop(bus, serving)


async def test_a_handler_may_make_a_message_a_dead_letter(bus: Bus) -> None:
    async def handle(opened: Opened) -> Sequence[Message]:
        raise ContractError("no such thing")

    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w", attempts=3, failed=none))
    await wait_until(lambda: bus.last_raw("events.a.dead.EVENTS.1"), description="the dead letter")
    await wait_until(lambda: settled(bus, "w"), description="it is settled")
    await stop(bus, serving)


async def test_retry_has_the_message_redelivered(bus: Bus) -> None:
    tries: list[int] = []

    async def handle(opened: Opened) -> Sequence[Message]:
        tries.append(len(tries))
        if len(tries) < 3:
            raise Retry(0.05)
        return segmented(opened)

    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w"))
    await wait_until(lambda: bus.last_raw("events.a.segmented"), description="the third try")
    assert len(tries) == 3
    await stop(bus, serving)


async def test_after_the_last_attempt_a_failed_value_is_stored(bus: Bus) -> None:
    tries = 0

    async def handle(opened: Opened) -> Sequence[Message]:
        nonlocal tries
        tries += 1
        raise RuntimeError("engine fell over")

    async def failed(opened: Opened, reason: str) -> Sequence[Message]:
        return [Completed(job=opened.job, segments=0, samples=0)]

    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w", attempts=2, failed=failed))
    await wait_until(lambda: settled(bus, "w"), description="it is settled")
    found = await events(bus, "a")
    assert tries == 2
    assert [type(event) for event in found] == [Opened, Dead, Completed]
    assert isinstance(found[1], Dead)
    assert (found[1].reason, found[1].worker) == ("RuntimeError: engine fell over", "w")
    await stop(bus, serving)


async def test_a_message_without_an_outcome_is_given_up(bus: Bus) -> None:
    tries = 0

    async def handle(opened: Opened) -> Sequence[Message]:
        nonlocal tries
        tries += 1
        raise Retry(0.01)

    async def failed(opened: Opened, reason: str) -> Sequence[Message]:
        return []

    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w", attempts=2, failed=failed))
    await wait_until(lambda: settled(bus, "w"), description="it is settled")
    dead = await bus.last(Dead, "events.a.dead.EVENTS.1")
    assert dead is not None
    assert (dead.value.reason, dead.value.worker, tries) == ("no outcome in 6 deliveries", "w", 6)
    await stop(bus, serving)


async def test_a_message_that_kills_its_workers_is_given_up(nats_url: str) -> None:
    """A killed worker acks nothing, so the message is redelivered until its attempts are used up."""
    started = asyncio.Semaphore(0)

    async def never(opened: Opened) -> Sequence[Message]:
        started.release()
        await asyncio.Event().wait()
        return []

    async def failed(opened: Opened, reason: str) -> Sequence[Message]:
        return [Completed(job=opened.job, segments=0, samples=0)]

    async with connect(nats_url) as bus:
        await bus.publish(Opened(job="a"))
        for _ in range(3):
            async with connect(nats_url) as victim:
                arguments = {"durable": "w", "ack_wait": 0.5, "attempts": 1}
                serving = asyncio.create_task(serve(victim, Opened, never, failed=failed, **arguments))  # type: ignore[arg-type]
                await started.acquire()
                await victim.connection.nc.close()  # nothing that it still sends arrives
                serving.cancel()
        serving = asyncio.create_task(serve(bus, Opened, never, durable="w", ack_wait=0.5, attempts=1, failed=failed))
        await wait_until(lambda: bus.last_raw("events.a.completed"), description="the value that says it failed")
        assert started.locked()
        await stop(bus, serving)


async def test_a_slow_handler_keeps_its_message(bus: Bus) -> None:
    tries = 0

    async def handle(opened: Opened) -> Sequence[Message]:
        nonlocal tries
        tries += 1
        await asyncio.sleep(4)  # beyond ack_wait: only the heartbeat keeps the message here
        return segmented(opened)

    await bus.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(bus, Opened, handle, durable="w", ack_wait=2, at_once=2))
    await wait_until(lambda: settled(bus, "w") if tries else False, description="it is done")
    assert tries == 1
    await stop(bus, serving)


async def test_stopping_gives_back_the_messages_in_flight(nats_url: str) -> None:
    async with connect(nats_url) as first, connect(nats_url) as second:
        owners: list[tuple[str, int]] = []

        async def own_for_ever(opened: Opened, epoch: int) -> Sequence[Message]:
            owners.append(("first", epoch))
            await asyncio.Event().wait()
            return []

        async def own(opened: Opened, epoch: int) -> Sequence[Message]:
            owners.append(("second", epoch))
            return segmented(opened)

        await first.publish(Opened(job="a"))
        leasing = asyncio.create_task(lease(first, Opened, own_for_ever, durable="v", ack_wait=60))
        await wait_until(lambda: owners, description="the first owner")
        other = asyncio.create_task(lease(second, Opened, own, durable="v", ack_wait=60))
        await stop(first, leasing)
        # Not after the 60 s of `ack_wait`: at once.
        await wait_until(lambda: second.last_raw("events.a.segmented"), description="the second owner's output")
        assert owners == [("first", 1), ("second", 2)]
        await stop(second, other)


async def test_a_worker_can_be_stopped_at_any_moment(bus: Bus) -> None:
    """nats-py can swallow a cancellation, at a moment that differs from run to run."""

    async def handle(opened: Opened) -> Sequence[Message]:
        return []

    for steps in range(120):
        bus.stopping.clear()
        serving = asyncio.create_task(serve(bus, Opened, handle, durable="w"))
        for _ in range(steps):
            await asyncio.sleep(0)
        await stop(bus, serving)


async def test_the_lease_of_a_dead_worker_moves(nats_url: str) -> None:
    async with connect(nats_url) as dead, connect(nats_url) as other:
        epochs: list[int] = []

        async def own(opened: Opened, epoch: int) -> Sequence[Message]:
            epochs.append(epoch)
            await asyncio.Event().wait()
            return []

        await dead.publish(Opened(job="a"))
        leasing = asyncio.create_task(lease(dead, Opened, own, durable="v", ack_wait=0.5))
        await wait_until(lambda: epochs == [1], description="the first lease")
        await dead.connection.nc.close()
        leasing.cancel()
        taking = asyncio.create_task(lease(other, Opened, own, durable="v", ack_wait=0.5))
        await wait_until(lambda: epochs == [1, 2], description="the second lease")
        await stop(other, taking)


async def test_a_fenced_owner_neither_acks_nor_gives_back(bus: Bus) -> None:
    epochs: list[int] = []

    async def own(opened: Opened, epoch: int) -> Sequence[Message]:
        epochs.append(epoch)
        if epoch == 1:
            raise Fenced("somebody else writes")
        return segmented(opened)

    await bus.publish(Opened(job="a"))
    leasing = asyncio.create_task(lease(bus, Opened, own, durable="v", ack_wait=0.5))
    await wait_until(lambda: bus.last_raw("events.a.segmented"), description="the next lease")
    assert epochs == [1, 2]
    await stop(bus, leasing)


async def test_work_goes_on_after_a_crash_of_the_server(nats_server: Server) -> None:
    async with connect(nats_server.url) as bus:

        async def handle(opened: Opened) -> Sequence[Message]:
            return segmented(opened)

        serving = asyncio.create_task(serve(bus, Opened, handle, durable="w"))
        await bus.publish(Opened(job="a"))
        await wait_until(lambda: bus.last_raw("events.a.segmented"), description="output before the crash")
        await nats_server.kill()
        await nats_server.start()
        await bus.publish(Opened(job="b"))
        await wait_until(lambda: bus.last_raw("events.b.segmented"), description="output after the crash")
        await stop(bus, serving)


async def test_a_message_class_without_a_stream_cannot_be_served(bus: Bus) -> None:
    from contract import Progress

    async def handle(progress: Progress) -> Sequence[Message]:
        return [Closed(job=progress.job, samples=0, reason="stop")]

    with pytest.raises(TypeError, match="Progress is not stored"):
        await serve(bus, Progress, handle, durable="w")


@pytest.mark.parametrize("task", ["_fetch", "_heartbeat"])
async def test_a_failure_of_a_background_task_ends_the_worker(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def handle(_message: Opened) -> list[Message]:
        return []

    monkeypatch.setattr(_Worker, task, fail)
    with pytest.raises(ZeroDivisionError):
        await serve(bus, Opened, handle, durable="w")


async def test_a_dead_letter_that_is_refused_is_tried_again(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    create, refusals = Bus.create, 0

    async def refuse_once(self: Bus, message: Message) -> bool:
        nonlocal refusals
        if isinstance(message, Dead) and not refusals:
            refusals += 1
            raise ContractError("refused")
        return await create(self, message)

    async def handle(_message: Opened) -> list[Message]:
        raise ContractError("no use")

    monkeypatch.setattr(Bus, "create", refuse_once)
    await bus.publish(Opened(job="a"))
    async with asyncio.TaskGroup() as group:
        working = group.create_task(serve(bus, Opened, handle, durable="w"))
        await wait_until(lambda: bus.last_raw("events.a.dead.EVENTS.1"), description="the dead letter")
        working.cancel()
    assert refusals == 1
