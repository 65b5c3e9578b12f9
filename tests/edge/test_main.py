from __future__ import annotations

import httpx
import pytest

from compose.ports import free_port
from tests.edge.process import edge_process, spawn
from tests.support import wait_until


@pytest.mark.parametrize("reuse", ["0", "1"])
async def test_a_taken_port_is_reported_in_one_sentence(nats_url: str, redis_url: str, reuse: str) -> None:
    taken = nats_url.rsplit(":", 1)[1]
    process = await spawn(nats_url, redis_url, LOG_LEVEL="ERROR", EDGE_REUSE_PORT=reuse, EDGE_PORT=taken)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().startswith(
        f"edge cannot start: cannot listen on 127.0.0.1 port {taken} (EDGE_HOST, EDGE_PORT): Address already in use"
    )
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("host", "reached", "not_reached"),
    [
        ("::", ["[::1]", "127.0.0.1"], []),
        ("0.0.0.0", ["127.0.0.1"], ["[::1]"]),
        ("::1", ["[::1]"], ["127.0.0.1"]),
        ("localhost", ["127.0.0.1"], []),
    ],
)
async def test_where_it_can_be_reached(
    nats_url: str, redis_url: str, host: str, reached: list[str], not_reached: list[str]
) -> None:
    async with edge_process(nats_url, redis_url, EDGE_HOST=host, at=reached[0]) as edge, httpx.AsyncClient() as http:
        port = edge.url.rpartition(":")[2]
        for name in reached:
            created = (await http.post(f"http://{name}:{port}/api/v1/stream/create")).json()
            assert created["ws_url"].startswith(f"ws://{name}:{port}/")
        for name in not_reached:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"http://{name}:{port}/healthz")


async def test_a_proxy_on_this_machine_is_trusted_where_the_edge_listens_everywhere(
    nats_url: str, redis_url: str
) -> None:
    async with edge_process(nats_url, redis_url, EDGE_HOST="::") as edge, httpx.AsyncClient() as http:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "steno.example.org"}
        created = (await http.post(f"{edge.url}/api/v1/stream/create", headers=headers)).json()
        assert created["ws_url"].startswith("wss://steno.example.org/")


@pytest.mark.parametrize("host", ["::", "0.0.0.0"])
async def test_everywhere_needs_a_port_that_is_free_everywhere(nats_url: str, redis_url: str, host: str) -> None:
    taken = nats_url.rsplit(":", 1)[1]  # of IPv4
    process = await spawn(nats_url, redis_url, EDGE_HOST=host, EDGE_PORT=taken)
    _, err = await process.communicate()
    assert process.returncode == 2
    assert f"cannot listen on {host} port {taken} (EDGE_HOST, EDGE_PORT): Address already in use" in err.decode()


@pytest.mark.parametrize("host", ["a" * 64, "x..y", "nowhere.invalid"])
async def test_no_host(nats_url: str, redis_url: str, host: str) -> None:
    process = await spawn(nats_url, redis_url, LOG_LEVEL="ERROR", EDGE_HOST=host, EDGE_PORT="8000")
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().startswith(f"edge cannot start: cannot listen on {host} port 8000 (EDGE_HOST, EDGE_PORT): ")
    assert err.count(b"\n") == 1


async def test_a_bad_store_url_is_reported_in_one_sentence(nats_url: str) -> None:
    process = await spawn(nats_url, "http://x", LOG_LEVEL="ERROR")
    _, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().startswith("edge cannot start: STORE_URL='http://x': ")
    assert err.count(b"\n") == 1


async def test_sigterm_ends_it_in_good_order(nats_url: str, redis_url: str) -> None:
    port = free_port("127.0.0.1")
    process = await spawn(nats_url, redis_url, EDGE_PORT=str(port))

    async def answers() -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
            except httpx.TransportError:
                return False

    await wait_until(answers, description="the edge answers")
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
