"""The edge as a process of its own, on the event loop that it has in earnest."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from compose.ports import free_port
from tests.support import wait_until


async def spawn(nats_url: str, redis_url: str, **env: str) -> Process:
    environment = {**os.environ, "NATS_URL": nats_url, "STORE_URL": redis_url, **env}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "edge", env=environment, stderr=PIPE)


async def serves(url: str) -> bool:
    """Whether an edge answers that has what a capture needs."""
    async with httpx.AsyncClient() as http:
        try:
            checks = (await http.get(f"{url}/readyz")).json()["checks"]
        except httpx.TransportError:
            return False
    return bool(checks["bus"] == checks["store"] == "ok")


class EdgeProcess:
    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url

    async def create(self) -> tuple[str, str]:
        """A new job, and the address of its socket."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            created = (await http.post("/api/v1/stream/create")).json()
        return created["job_id"], created["ws_url"]


@asynccontextmanager
async def edge_process(
    nats_url: str, redis_url: str, *, at: str = "127.0.0.1", **env: str
) -> AsyncIterator[EdgeProcess]:
    """An edge that serves, asked at a host."""
    env = {"EDGE_PORT": str(free_port("127.0.0.1"))} | env
    process = await spawn(nats_url, redis_url, **env)
    reading = asyncio.create_task(process.communicate())
    edge = EdgeProcess(process, f"http://{at}:{env['EDGE_PORT']}")
    try:
        await wait_until(lambda: serves(edge.url), description="the edge answers")
        yield edge
    finally:
        if process.returncode is None:
            process.terminate()
        await reading
