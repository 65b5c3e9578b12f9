"""A server that cannot store, because its disk is full or because it may not take more: real, on a small disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus import Bus, Storage, connect
from compose.servers import Server, nats_server
from contract import Closed
from tests.small_disk import SmallDisk, small_disk
from tests.support import wait_until

SIZE = 64_000_000


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(64) as mounted:
        yield mounted


@asynccontextmanager
async def running(disk: SmallDisk, log: Path) -> AsyncIterator[Server]:
    server = nats_server(disk.path / "nats", log=log)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def watched(bus: Bus) -> AsyncIterator[Storage]:
    storage = Storage(bus.connection)
    watching = asyncio.create_task(storage.watch())
    try:
        yield storage
    finally:
        watching.cancel()


async def test_a_full_disk_is_told_and_nothing_acked_is_lost(disk: SmallDisk, tmp_path: Path) -> None:
    async with running(disk, tmp_path / "nats.log") as server, connect(server.url) as bus, watched(bus) as storage:
        stored: list[bytes] = []

        async def publish() -> None:
            while len(stored) < 2_000:
                message = os.urandom(4_000)
                await bus.store("audio.m1", message)
                stored.append(message)

        disk.fill(leave=2_000_000)
        publishing = asyncio.create_task(publish())
        await wait_until(lambda: storage.trouble, description="the trouble is told")
        assert storage.trouble
        assert storage.trouble.startswith(f"NATS at {server.url} cannot write AUDIO: ")
        assert storage.trouble.endswith("no space left on device")
        assert 100 < len(stored) < 600
        assert not publishing.done()

        disk.make_room()
        await server.stop()
        await server.start()
        await publishing
        await wait_until(lambda: storage.trouble is None, description="the trouble is over")
        assert [raw.data for raw in await bus.history("AUDIO", "audio.m1")] == stored


async def test_a_server_that_starts_with_little_room_takes_no_more_and_says_so(disk: SmallDisk, tmp_path: Path) -> None:
    disk.fill(leave=1_000_000)
    async with running(disk, tmp_path / "nats.log") as server, connect(server.url) as bus, watched(bus) as storage:
        disk.make_room()

        async def publish() -> None:
            for _ in range(500):
                await bus.store("audio.m1", os.urandom(4_000))

        publishing = asyncio.create_task(publish())
        await wait_until(lambda: storage.trouble, description="the trouble is told")
        assert storage.trouble == f"NATS at {server.url} takes no more: insufficient resources"
        assert await bus.purge("AUDIO", "audio.m1") > 0  # erasing helps
        await server.stop()
        await server.start()
        await publishing
        await wait_until(lambda: storage.trouble is None, description="the trouble is over")


async def test_a_server_that_stores_is_left_as_it_is(bus: Bus) -> None:
    closed = Closed(job="m1", samples=1, reason="stop")
    seq = await bus.publish(closed)
    async with watched(bus) as storage:
        storage.trouble = "not looked at yet"
        await wait_until(lambda: storage.trouble is None, description="the storage is looked at")
    assert [raw.seq for raw in await bus.history("EVENTS", ">")] == [seq]
