from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bus import Bus, connect
from bus.connection import ReadOnlyConnection, check_address
from bus.streams import reading
from bus.topology import StreamSettings
from compose.servers import Server
from contract import Opened
from tests.support import wait_until


@pytest.mark.parametrize("url", ["nats://127.0.0.1:4222", "tls://bus.example.org", "nats://user:word@[::1]:4222"])
def test_addresses_that_are_taken(url: str) -> None:
    assert check_address(url) == url


@pytest.mark.parametrize("url", ["", "localhost:4222", "http://x", "nats://", "nats://h:port", "nats://h:0", "x y"])
def test_addresses_that_are_not(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address like nats://HOST:PORT or tls://HOST:PORT"):
        check_address(url)


async def test_a_reader_leaves_the_streams_as_they_are(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(nats_url, streams=StreamSettings(events_days=30)):
        pass
    monkeypatch.setenv("BUS_EVENTS_DAYS", "nonsense")  # is a setting of parts, and none of who only reads
    async with reading(nats_url) as bus:
        assert bus.connection.trouble is None
        assert (await bus.connection.js.stream_info("EVENTS")).config.max_age == 30 * 86_400


async def test_a_bus_without_our_streams_is_none(nats_url: str) -> None:
    with pytest.raises(ConnectionError, match=f"NATS at {nats_url} has no stream EVENTS: it is no Stenobus bus"):
        async with reading(nats_url):
            pass


async def test_nobody_there(unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    url = f"nats://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ConnectionError, match=f"^cannot reach NATS at {url}: connection refused$"):
        async with reading(url, within=0.3):
            pass
    assert caplog.records == []  # it is raised: once is enough


async def test_a_server_that_is_late_is_waited_for(nats_server: Server) -> None:
    async with connect(nats_server.url):
        pass
    await nats_server.kill()
    reader = ReadOnlyConnection(nats_server.url)
    connecting = asyncio.create_task(reader.connect())
    await wait_until(lambda: reader.nc.last_error, description="an attempt that failed")
    await nats_server.start()
    await connecting
    assert reader.trouble is None
    await reader.close()


async def test_a_position_in_time(bus: Bus) -> None:
    begun = datetime.now(UTC)
    for job in ("a", "b"):
        await bus.publish(Opened(job=job))
    between = (await bus.history("EVENTS", "events.>"))[-1].time + timedelta(microseconds=1)
    await wait_until(lambda: datetime.now(UTC) > between, description="the clock goes on")
    await bus.publish(Opened(job="c"))
    assert await bus.position("EVENTS", begun - timedelta(days=400)) == 0
    assert await bus.position("EVENTS", begun) == 0
    assert await bus.position("EVENTS", between) == 2
    assert await bus.position("EVENTS", datetime.now(UTC) + timedelta(days=1)) == 3
    assert await bus.position("AUDIO", begun) == 0  # which is empty
    await bus.connection.js.purge_stream("EVENTS")
    assert await bus.position("EVENTS", begun) == 3


async def test_looking_for_a_position_leaves_nothing_behind(bus: Bus) -> None:
    await bus.position("EVENTS", datetime.now(UTC))

    async def left() -> bool:
        return not await bus.connection.js.consumers_info("EVENTS")

    await wait_until(left, description="no consumer is left")
