"""Events of processors that the edge does not know, as it shows them with a job."""

from __future__ import annotations

import msgpack

from bus import Bus
from contract import Closed
from edge.rest.extra import extra, extra_json
from tests.edge.conftest import Edge
from tests.support import connected_client


async def test_the_last_event_of_each_unknown_kind_is_shown_with_the_job(edge: Edge, nats_url: str) -> None:
    job = await edge.create()
    async with connected_client(nats_url) as (_, js):
        for mood in ("calm", "lively"):
            await js.publish(f"events.{job}.mood", msgpack.packb({"job": job, "mood": mood, "share": 0.5}))
        await js.publish(f"events.{job}.mood.0", msgpack.packb({"job": job, "mood": "of a part"}))
        await js.publish(f"events.{job}.noise", b"\xc1garbage")
        await js.publish(f"events.{job}.list", msgpack.packb([1, 2]))
    answer = await edge.get(f"/api/v1/jobs/{job}")
    assert answer.status_code == 200
    assert answer.json()["extra"] == {"mood": {"mood": "lively", "share": 0.5}}


async def test_kinds_of_the_contract_and_other_jobs_are_not_among_them(bus: Bus) -> None:
    await bus.publish(Closed(job="a", samples=1, reason="stop"))
    await bus.js.publish("events.b.mood", msgpack.packb({"job": "b", "mood": "calm"}))
    assert await extra(bus, "a") == {}
    assert await extra(bus, "b") == {"mood": {"mood": "calm"}}


def test_what_json_cannot_say_is_said_otherwise() -> None:
    data = msgpack.packb({"job": "a", "sound": b"\x00\xff", "level": float("-inf")})
    assert extra_json(data) == {"sound": "AP8=", "level": None}
