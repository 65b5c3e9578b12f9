"""What a connection costs the edge in memory: idle ones, and ones whose audio the bus does not take.

`python -m bench.memory` starts one contender after the other, each with servers of its own: `naive` (Starlette, an
awaited publish for each frame), `inprocess` (a transcription server without a bus), and ours. Idle
connections have their job and say nothing. Then they send as fast as they can while stream AUDIO is full, so that every
buffer between client and bus is as full as it gets: ours stops reading; naive ends them, and inprocess knows no stream.
The figures are the growth of the process's own resident memory (what it maps from files is left out: how much of that
counts as its own depends on which other programs run) divided by the connections; the first half of them loads all
code, and does not count as idle. Of the stalled ones it is the most that was seen; what the allocator had to spare is
not in it. Clients offer compression, as browsers do; who takes it pays for it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from bench.deployment import DeployError, Deployment, Part, deployed, edge_part, inprocess_part, naive_part
from bench.memory.figures import TITLES, Contender, Held, plot, summary, table
from bench.program import log_to_stderr, report, run_until_told, within
from bus import StartError
from bus import connect as connect_bus
from bus.topology import StreamSettings
from compose.servers import StartError as ServerStartError
from processors.stt.whisper.models import find_model
from tools.system import MODEL, ROOT

PLOT = ROOT / "bench" / "out" / "memory.png"
_NOISE = hashlib.shake_256(b"noise").digest(64 * 960)
FRAMES = [_NOISE[at : at + 960] for at in range(0, len(_NOISE), 960)]
"""Of 30 ms. Nothing in them repeats within the 32 kB in which compression looks for it: speech hardly compresses."""

FULL_BYTES = 1_000_000
"""Size of the stream while it is to be full."""

_LOOKS = 100
"""How often the memory is read while clients push: peaks are short."""


async def measure(connections: int, settle: float, full: float, model: str) -> dict[Contender, Held]:
    """All contenders. settle: seconds before memory is read; full: seconds for which the stream is.

    Raises DeployError, compose's StartError.
    """
    held: dict[Contender, Held] = {}
    for contender in TITLES:
        print(f"{TITLES[contender]}: {connections} connections", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="stenobus-memory-") as name:
            async with deployed(Path(name), [_part(contender, model)]) as system:
                held[contender] = await _hold(contender, system, connections, settle, full)
    return held


def _part(contender: Contender, model: str) -> Part:
    if contender == "naive":
        return naive_part()
    return inprocess_part(model) if contender == "inprocess" else edge_part()


async def _hold(contender: Contender, system: Deployment, connections: int, settle: float, full: float) -> Held:
    sockets = await open_jobs(system, connections)
    try:
        await asyncio.sleep(settle)
        before = own_kilobytes(system)
        sockets += await open_jobs(system, connections)
        await asyncio.sleep(settle)
        after = own_kilobytes(system)
        idle = (after - before) / connections
        if contender == "inprocess":
            return Held(idle, None)
        most = await _stall(system, sockets, full)
        closed = sum(socket.close_code is not None for socket in sockets)
        return Held(idle, None if closed else idle + (most - after) / len(sockets), closed)
    finally:
        for socket in sockets:
            socket.transport.abort()


async def _stall(system: Deployment, sockets: Sequence[ClientConnection], seconds: float) -> float:
    """The most memory while clients push against a full stream."""
    most = 0.0
    full_stream = StreamSettings(audio_max_bytes=FULL_BYTES)
    async with connect_bus(system.bus_url, streams=full_stream), _pushing(sockets):
        for _ in range(_LOOKS):
            await asyncio.sleep(seconds / _LOOKS)
            most = max(most, own_kilobytes(system))
    return most


@asynccontextmanager
async def _pushing(sockets: Sequence[ClientConnection]) -> AsyncIterator[None]:
    """Clients send without end while the block runs, and read what the server sends."""
    tasks = [asyncio.create_task(do(socket)) for socket in sockets for do in (_push, _hear)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _push(socket: ClientConnection) -> None:
    """A server that does not read makes this wait."""
    with suppress(ConnectionClosed):
        for frame in itertools.cycle(FRAMES):
            await socket.send(frame)
            await asyncio.sleep(0)  # `send` alone never yields while the server reads


async def _hear(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass


async def open_jobs(system: Deployment, number: int) -> list[ClientConnection]:
    """So many connections that have their jobs. Raises DeployError."""
    sockets = []
    try:
        async with httpx.AsyncClient(base_url=system.url, trust_env=False) as http:
            for _ in range(number):
                ws_url = (await http.post("/api/v1/stream/create")).raise_for_status().json()["ws_url"]
                socket = await connect(ws_url, proxy=None, max_queue=1)
                sockets.append(socket)
                await socket.recv()
    except (httpx.HTTPError, WebSocketException, OSError) as exc:
        system.check()
        raise DeployError(f"connection {len(sockets) + 1} of {number} failed: {exc or type(exc).__name__}") from exc
    return sockets


def own_kilobytes(system: Deployment) -> float:
    """Of the process that clients talk to. Raises DeployError where it has ended."""
    system.check()
    info = psutil.Process(system.children["edge"].pid).memory_info()
    return float(info.rss - getattr(info, "shared", 0)) / 1024


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    held = run_until_told(measure(args.connections, args.settle, args.full, args.model))
    what = f"{args.connections} connections, {os.cpu_count()} cores"
    print(f"memory of the process that clients talk to: {what}\n")
    print(table(held))
    plot(held, what, args.plot)
    print(f"\nplot: {args.plot}")
    return summary(held) | {"connections": args.connections}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--connections", type=within(int, 1, 5_000), default=200, metavar="N", help="idle; twice as many stall (200)"
    )
    parser.add_argument("--settle", type=within(float, 0, 60), default=3.0, metavar="S", help="before a look (3)")
    parser.add_argument("--full", type=within(float, 1, 600), default=20.0, metavar="S", help="of a full stream (20)")
    parser.add_argument("--model", default=str(MODEL), help="of inprocess, as STT_MODEL (models/whisper-micro)")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="PNG", help="(bench/out/memory.png)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    log_to_stderr()

    def checked() -> dict[str, Any]:
        find_model(args.model)
        return bench(args)

    return report("memory", checked, OSError, ServerStartError, DeployError, StartError)


if __name__ == "__main__":
    sys.exit(main())
