"""A real edge on real servers, with clients that speak raw WebSocket and HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import websockets

from bus import Bus, connect
from bus.connection import Connection
from compose.ports import free_port
from edge.__main__ import main
from edge.services import Settings
from tests.support import wait_until


@dataclass
class Edge:
    """An edge that listens, and its own connection to the bus; `sockets` is where its capture sockets are."""

    url: str
    bus: Bus
    sockets: str

    async def create(self, **options: Any) -> str:
        """A new job's id."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            response = await client.post("/api/v1/stream/create", json=options)
            assert response.status_code == 201, response.text
            return str(response.json()["job_id"])

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            return await client.get(path)

    def socket(self, job: str, path: str = "/api/v1/stream", query: str = "") -> websockets.connect:
        return websockets.connect(f"{self.sockets}{path}/{job}{query}", compression=None, proxy=None)


StartEdge = Callable[..., AbstractAsyncContextManager[Edge]]


@asynccontextmanager
async def running_edge(nats_url: str, *, wait: bool = True, **settings: Any) -> AsyncIterator[Edge]:
    """An edge in this process, stopped in good order at the end. No part of these tests corrects jobs by itself."""
    settings = {"correct": False} | settings
    port = free_port("127.0.0.1")
    bus = Bus(Connection(nats_url, name="edge"))
    connecting = asyncio.create_task(bus.connection.connect())
    serving = asyncio.create_task(main(bus, Settings(port=port, **settings)))
    edge = Edge(f"http://127.0.0.1:{port}", bus, f"ws://127.0.0.1:{port}")

    async def answers() -> bool:
        try:
            health = (await edge.get("/readyz")).json()["checks"]
        except httpx.TransportError:
            return False
        return not wait or (health["bus"] == health["store"] == "ok")

    try:
        await wait_until(answers, description="the edge answers")
        yield edge
    finally:
        bus.stopping.set()
        await serving
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await bus.connection.close()


@pytest.fixture
def start_edge(nats_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> StartEdge:
    """Starts an edge with settings, on the servers of the test."""
    monkeypatch.setenv("STORE_URL", redis_url)
    return partial(running_edge, nats_url)


@pytest.fixture
async def edge(start_edge: StartEdge) -> AsyncIterator[Edge]:
    async with start_edge(resume_window=2) as started:
        yield started


@pytest.fixture
async def worker(nats_url: str) -> AsyncIterator[Bus]:
    """Another program on the bus, which plays the processors."""
    async with connect(nats_url) as connected:
        yield connected


class Client:
    """A capture client: collects the messages that it gets."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.received: list[dict[str, Any]] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            self.received.append(json.loads(message))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == kind]

    async def until(self, kind: str, number: int = 1) -> dict[str, Any]:
        await wait_until(lambda: len(self.of(kind)) >= number, description=f"{number} {kind}")
        return self.of(kind)[number - 1]

    async def closed(self) -> int | None:
        await self.socket.wait_closed()
        await asyncio.gather(self.reading, return_exceptions=True)
        return self.socket.close_code

    async def command(self, command: str) -> None:
        await self.socket.send(json.dumps({"command": command}))


@asynccontextmanager
async def client(edge: Edge, job: str, path: str = "/api/v1/stream", query: str = "") -> AsyncIterator[Client]:
    async with edge.socket(job, path, query) as socket:
        connected = Client(socket)
        try:
            yield connected
        finally:
            connected.reading.cancel()
            await asyncio.gather(connected.reading, return_exceptions=True)
