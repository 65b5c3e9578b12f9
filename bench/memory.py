"""What a connection costs the edge in memory: idle ones, and ones whose audio the bus does not take.

`python -m bench.memory`: one edge on a nats-server and a redis-server of its own. Idle connections have claimed their
job and say nothing. Then they send as fast as they can while stream AUDIO is full, so that every buffer between client
and bus is as full as it gets. The figures are the growth of the edge's memory (proportional set size where the system
tells it, else resident) divided by the connections; a few connections before that load all code, and do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import websockets

from bus import connect
from bus.topology import StreamSettings
from compose.ports import free_port
from compose.servers import nats_server, redis_server

FRAME = bytes(960)
SETTLE_SECONDS = 3.0
FULL_BYTES = 1_000_000
WARM_UP = 5


@dataclass(frozen=True)
class Edge:
    """The edge under test."""

    url: str
    process: psutil.Process

    def kilobytes(self) -> float:
        """Its memory now."""
        info = self.process.memory_full_info()
        return float(getattr(info, "pss", info.rss)) / 1024


@asynccontextmanager
async def running_edge(folder: Path) -> AsyncIterator[tuple[Edge, str]]:
    """An edge, and the URL of its bus."""
    nats, redis, port = nats_server(folder / "nats"), redis_server(folder / "redis"), free_port("127.0.0.1")
    await asyncio.gather(nats.start(), redis.start())
    env = {"NATS_URL": nats.url, "STORE_URL": redis.url, "EDGE_PORT": str(port), "EDGE_REQUIRES": ""}
    with (folder / "edge.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge"), env=os.environ | env | {"EDGE_CONNECTIONS": "100000"}, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as http:
            while True:
                with suppress(httpx.TransportError):
                    if (await http.get(f"{url}/readyz")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
        yield Edge(url, psutil.Process(process.pid)), nats.url
    finally:
        process.terminate()
        await process.wait()
        await asyncio.gather(nats.stop(1), redis.stop(1))


async def open_jobs(edge: Edge, number: int) -> list[websockets.ClientConnection]:
    """So many connections that have their jobs."""
    sockets = []
    async with httpx.AsyncClient(base_url=edge.url) as http:
        for _ in range(number):
            ws_url = (await http.post("/api/v1/stream/create")).json()["ws_url"]
            socket = await websockets.connect(ws_url, compression=None, proxy=None, max_queue=1)
            await socket.recv()
            sockets.append(socket)
    return sockets


async def push(socket: websockets.ClientConnection) -> None:
    """Send without end; a server that does not read makes this wait."""
    with suppress(websockets.ConnectionClosed):
        while True:
            await socket.send(FRAME)


async def close(sockets: list[websockets.ClientConnection]) -> None:
    """Leave in good order, so that the edge closes the jobs at once."""
    await asyncio.gather(*(socket.close() for socket in sockets))


async def measure(connections: int) -> dict[str, float]:
    """The figures, in kilobytes for each connection."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stenobus-bench-")))
        edge, bus_url = await stack.enter_async_context(running_edge(folder))
        await close(await open_jobs(edge, WARM_UP))
        await asyncio.sleep(SETTLE_SECONDS)
        before = edge.kilobytes()
        sockets = await open_jobs(edge, connections)
        await asyncio.sleep(SETTLE_SECONDS)
        idle = edge.kilobytes()
        async with connect(bus_url, streams=StreamSettings(audio_max_bytes=FULL_BYTES)):
            pushing = [asyncio.create_task(push(socket)) for socket in sockets]
            stalled = 0.0
            for _ in range(20):
                await asyncio.sleep(SETTLE_SECONDS / 3)
                stalled = max(stalled, edge.kilobytes())
        for task in pushing:
            task.cancel()
        await asyncio.gather(*pushing, return_exceptions=True)
        for socket in sockets:
            socket.transport.abort()
    print(f"memory of the edge, kB: {before:.0f} without, {idle:.0f} with {connections} idle, {stalled:.0f} stalled")
    return {
        "idle_kb": round((idle - before) / connections, 1),
        "stalled_kb": round((stalled - before) / connections, 1),
    }


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.connections))
    print(f"{'':>10}  kB for each connection")
    print(f"{'idle':>10}  {figures['idle_kb']:.1f}")
    print(f"{'stalled':>10}  {figures['stalled_kb']:.1f}")
    print(json.dumps(figures | {"connections": arguments.connections}))


if __name__ == "__main__":
    main()
