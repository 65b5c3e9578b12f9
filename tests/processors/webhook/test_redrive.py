"""A delivery that was given up, and is tried again."""

from __future__ import annotations

from starlette.responses import Response

from bus import Bus
from bus.dead import redrive
from tests.processors.webhook.receiver import Receiver
from tests.processors.webhook.test_main import Start, dead, finished, publish, receiver, start  # noqa: F401
from tests.support import wait_until


async def test_a_delivery_is_tried_again_when_asked_for(bus: Bus, start: Start, receiver: Receiver) -> None:  # noqa: F811
    receiver.answers = [Response(status_code=410)]
    events = finished("m1", receiver.url)
    await publish(bus, events)
    await start()
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    await redrive(bus, "m1", "EVENTS", len(events))

    async def gone() -> bool:
        return not await dead(bus, "m1")

    await wait_until(gone, description="the dead letter is removed")
    first, second = receiver.deliveries
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "m1"
