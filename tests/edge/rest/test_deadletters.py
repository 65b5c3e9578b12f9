"""Dead letters over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
import pytest

from bus import Bus, serve
from bus.serve import Outputs
from compose.servers import Server
from contract import Dead, Message, Opened, Segmented
from tests.edge.conftest import Edge, running_edge
from tests.support import wait_until

PROBLEM = "application/problem+json"


def dead(job: str, seq: int, worker: str = "w") -> Dead:
    return Dead(job=job, stream="EVENTS", seq=seq, at=f"events.{job}.opened", reason="no luck", worker=worker)


async def post(edge: Edge, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url) as client:
        return await client.post(f"/api/v1/dead/{path}")


async def none(*_: object) -> Outputs:
    return []


async def test_the_list_may_be_empty(edge: Edge) -> None:
    response = await edge.get("/api/v1/dead")
    assert (response.status_code, response.json()) == (200, {"dead": []})


async def test_the_list_has_the_reasons_newest_first(edge: Edge, worker: Bus) -> None:
    began = datetime.now(UTC)
    for seq, job in enumerate("aba", 1):
        await worker.publish(dead(job, seq, "" if seq == 3 else "w"))
    found = (await edge.get("/api/v1/dead")).json()["dead"]
    assert [letter["seq"] for letter in found] == [3, 2, 1]
    at = datetime.fromisoformat(found[1].pop("at"))
    assert abs((at - began).total_seconds()) < 60
    assert found[1] == {
        "job_id": "b",
        "stream": "EVENTS",
        "seq": 2,
        "subject": "events.b.opened",
        "reason": "no luck",
        "worker": "w",
    }
    assert found[0]["worker"] is None
    assert [letter["seq"] for letter in (await edge.get("/api/v1/dead?job=a&limit=1")).json()["dead"]] == [3]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "limit='0': Input should be greater than or equal to 1"),
        ("limit=many", "limit='many': Input should be a valid integer"),
        ("job=*", "job='*': String should match pattern"),
    ],
)
async def test_a_bad_query_is_refused_with_the_reason(edge: Edge, query: str, says: str) -> None:
    response = await edge.get(f"/api/v1/dead?{query}")
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert says in response.json()["detail"]


async def test_a_successful_retry_removes_the_dead_letter(edge: Edge, worker: Bus) -> None:
    calls = 0

    async def handle(opened: Opened) -> Sequence[Message]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("not today")
        return [Segmented(job=opened.job, segments=0, samples=0)]

    async def listed() -> bool:
        return bool((await edge.get("/api/v1/dead")).json()["dead"])

    async def not_listed() -> bool:
        return not await listed()

    await worker.publish(Opened(job="a"))
    serving = asyncio.create_task(serve(worker, Opened, handle, durable="w", attempts=1, failed=none))
    await wait_until(listed, description="the dead letter")
    response = await post(edge, "a/EVENTS/1/retry")
    assert response.status_code == 202
    assert response.json() == {"job_id": "a", "stream": "EVENTS", "seq": 1, "worker": "w"}
    await wait_until(not_listed, description="the dead letter is gone")
    assert await worker.last_raw("events.a.segmented")
    worker.stopping.set()
    await serving


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("a/EVENTS/7/retry", 404, "no dead letter of job 'a' for message 7 of 'EVENTS'"),
        ("*/EVENTS/1/retry", 404, "no dead letter of job '*'"),
        ("a/EVENTS/first/retry", 404, "'first' is not the sequence of a message: a whole number is accepted"),
        ("a/EVENTS/1/retry", 409, "message 1 of EVENTS cannot be tried again: no luck"),
        ("a/EVENTS/99/retry", 410, "message 99 of EVENTS has aged out"),
    ],
)
async def test_what_cannot_be_retried_is_refused_with_the_reason(
    edge: Edge, worker: Bus, path: str, status: int, says: str
) -> None:
    await worker.publish(dead("a", 1, worker=""))
    await worker.publish(dead("a", 99))
    response = await post(edge, path)
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert says in response.json()["detail"]


async def test_without_the_bus_the_answer_is_503(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_server.url, answer_within=0.3) as edge:
        await nats_server.kill()
        await wait_until(lambda: edge.bus.connection.trouble, description="the edge knows")
        for response in await asyncio.gather(edge.get("/api/v1/dead"), post(edge, "a/EVENTS/1/retry")):
            assert (response.status_code, response.headers["retry-after"]) == (503, "2")
            assert "NATS at" in response.json()["detail"]
        await nats_server.start()
