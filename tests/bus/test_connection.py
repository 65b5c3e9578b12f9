from __future__ import annotations

import asyncio

import pytest

from bus import connect
from bus.connection import Connection, ReadOnlyConnection, check_address
from bus.streams import reading
from bus.topology import StreamSettings
from compose.servers import Server
from tests.support import wait_until


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("nats://127.0.0.1:4222", ["nats://127.0.0.1:4222"]),
        ("tls://bus.example.org", ["tls://bus.example.org"]),
        ("nats://user:word@[::1]:4222", ["nats://user:word@[::1]:4222"]),
        ("nats://a:1, nats://b:2,,c", ["nats://a:1", "nats://b:2", "nats://c"]),
        ("localhost:4222", ["nats://localhost:4222"]),
    ],
)
def test_valid_addresses(url: str, addresses: list[str]) -> None:
    assert check_address(url) == addresses


BAD = ["", ",", "http://x", "nats://", "nats://h:port", "nats://h:0", "nats://[::1", "nats://h,http://x", "ws://x"]


@pytest.mark.parametrize("url", BAD)
def test_malformed_addresses(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address like nats://HOST:PORT or tls://HOST:PORT"):
        check_address(url)


def test_a_connection_is_named_without_its_passwords() -> None:
    connection = Connection("nats://me:secret@a:1,tls://token@b")
    assert connection.url == "nats://a:1,tls://b"
    with pytest.raises(ValueError, match=r"'nats://a:port' is not"):
        Connection("nats://me:secret@a:port")


async def test_a_reader_leaves_the_streams_as_they_are(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(nats_url, streams=StreamSettings(events_days=30)):
        pass
    monkeypatch.setenv("BUS_EVENTS_DAYS", "nonsense")  # a setting of workers, which a reader ignores
    async with reading(nats_url) as bus:
        assert bus.connection.trouble is None
        assert (await bus.connection.js.stream_info("EVENTS")).config.max_age == 30 * 86_400


async def test_a_server_without_our_streams_is_refused(nats_url: str) -> None:
    with pytest.raises(ConnectionError, match=f"NATS at {nats_url} has no stream EVENTS: it is no Stenobus bus"):
        async with reading(nats_url):
            pass


async def test_without_a_server_the_reason_is_raised_and_not_logged(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"nats://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ConnectionError, match=f"^cannot reach NATS at {url}: connection refused$"):
        async with reading(url, within=0.3):
            pass
    assert caplog.records == []  # raising it is enough


async def test_a_reader_waits_for_a_server_that_is_late(nats_server: Server) -> None:
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


async def test_connect_waits_for_a_server_that_is_away(nats_server: Server) -> None:
    await nats_server.kill()
    connection = Connection(nats_server.url)
    connecting = asyncio.create_task(connection.connect())
    await wait_until(lambda: "cannot be reached" in (connection.trouble or ""), description="the trouble is noticed")
    await nats_server.start()
    await connecting
    assert connection.trouble is None
    assert connection.connected.is_set()
    await nats_server.kill()
    await wait_until(lambda: connection.trouble, description="the trouble is noticed again")
    await connection.close()
