"""A bus of several servers, as NATS_URL may name them: each process goes on with another one when its own dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bus import AudioPublisher, connect
from bus.streams import reading
from bus.topology import StreamSettings
from compose.ports import free_port
from compose.servers import Server, nats_server
from tests.bus.test_publisher import heard, send_all, sound
from tests.support import wait_until

LOGIN = ("--user", "ana", "--pass", "secret")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[list[Server]]:
    """Three servers that keep each stream three times; any two of them are enough."""
    routes = [f"nats://127.0.0.1:{free_port()}" for _ in range(3)]
    servers = []
    for number, route in enumerate(routes):
        server = nats_server(tmp_path / str(number))
        others = ("--cluster_name", "here", "--cluster", route, "--routes", ",".join(routes))
        servers.append(replace(server, argv=[*server.argv, "--name", f"n{number}", *others, *LOGIN]))
    await asyncio.gather(*(server.start() for server in servers))
    yield servers
    await asyncio.gather(*(server.kill() for server in servers))


def address(servers: list[Server]) -> str:
    return ", ".join(server.url.replace("://", "://ana:secret@") for server in servers)


async def test_audio_goes_on_at_another_server(cluster: list[Server]) -> None:
    frames = sound(4_000)
    streams = StreamSettings(replicas=3)
    async with connect(address(cluster), streams=streams) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        sending = asyncio.create_task(send_all(track, frames))
        await wait_until(lambda: track.stored > 480 * 1_000, description="some of it is stored")
        assert bus.connection.nc.connected_url
        (mine,) = [server for server in cluster if server.port == bus.connection.nc.connected_url.port]
        await mine.kill()
        assert await sending == 480 * len(frames)
        assert bus.connection.nc.connected_url.port != mine.port
        assert await heard(bus, "a") == (b"".join(frames), True)
        async with reading(address(cluster)) as reader:  # with a server that is away among those it may choose
            assert await heard(reader, "a") == (b"".join(frames), True)


async def test_servers_of_a_cluster_that_are_not_named_are_used_too(cluster: list[Server]) -> None:
    async with (
        connect(address(cluster[:1]), streams=StreamSettings(replicas=3)) as bus,
        AudioPublisher(bus) as publisher,
    ):
        track = publisher.track("a")
        await track.send(*sound(100))
        await cluster[0].kill()
        frames = sound(100)
        await track.send(*frames)
        assert await track.finish() == 2 * 480 * 100
        assert bus.connection.trouble is None
