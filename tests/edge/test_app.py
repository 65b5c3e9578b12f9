"""The edge as a whole: readiness, unknown routes, and servers that are away."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from bus import Bus, connect
from bus.requests import announce
from compose.servers import Server
from contract import Completed
from tests.edge.conftest import Edge, client, running_edge
from tests.support import wait_until

PROBLEM = "application/problem+json"


async def post(edge: Edge, body: bytes | None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url) as http:
        return await http.post("/api/v1/stream/create", content=body)


@pytest.mark.parametrize(("path", "status"), [("/api/v1/jobs/nobody", 404), ("/nowhere", 404)])
async def test_an_unknown_path_is_a_problem(edge: Edge, path: str, status: int) -> None:
    response = await edge.get(path)
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)


async def test_a_wrong_method_is_a_problem(edge: Edge) -> None:
    response = await edge.get("/api/v1/stream/create")
    assert (response.status_code, response.headers["content-type"]) == (405, PROBLEM)


async def test_ready_needs_the_bus_the_store_and_workers(edge: Edge, worker: Bus) -> None:
    assert (await edge.get("/healthz")).json() == {"status": "ok"}
    response = await edge.get("/readyz")
    assert response.status_code == 503
    missing = "no worker answers"
    assert response.json()["checks"] == {
        "bus": "ok",
        "storage": "ok",
        "store": "ok",
        "vad": missing,
        "stt": missing,
        "summary": missing,
    }
    for kind in ("vad", "stt", "summary"):
        await announce(worker, kind)
    response = await edge.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ready")


async def test_the_edge_waits_for_servers_that_are_away_at_the_start(
    nats_server: Server, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_server.url)
    await nats_server.kill()
    await redis_server.kill()
    async with running_edge(nats_server.url, wait=False, requires="") as edge:
        assert (await edge.get("/healthz")).status_code == 200

        async def checks() -> dict[str, str]:
            response = await edge.get("/readyz")
            assert response.status_code == 503
            return dict(response.json()["checks"])

        async def told() -> bool:
            found = await checks()
            return "cannot be reached" in found["bus"] and "connection refused" in found["store"]

        await wait_until(told, description="both are missed")
        refused = await post(edge, None)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["retry_after"] == 2
        await redis_server.start()
        refused = await post(edge, None)
        assert "NATS at" in json.dumps(refused.json())
        await nats_server.start()

        async def ready() -> bool:
            return (await edge.get("/readyz")).status_code == 200

        await wait_until(ready, description="the edge is ready")
        job = await edge.create()
        async with client(edge, job) as meeting:
            await meeting.until("connection_success")


async def test_a_store_that_goes_away_refuses_new_jobs_and_keeps_running_ones(
    edge: Edge, redis_server: Server, nats_url: str
) -> None:
    job, other = await edge.create(), await edge.create()
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        await redis_server.kill()
        async with client(edge, other) as refused:
            assert await refused.closed() == 1013
            error: dict[str, Any] = refused.of("error")[0]
            assert (error["code"], error["retry_after"]) == ("unavailable", 2)
            assert "connection refused" in error["message"]
        await meeting.socket.send(b"\0" * 960)
        await meeting.command("stop")
        async with connect(nats_url) as bus:
            await wait_until(lambda: bus.last_raw(f"events.{job}.closed"), description="the job is closed")
            await bus.create(Completed(job=job, segments=0, samples=480))
        assert await meeting.closed() == 1000
        await redis_server.start()
