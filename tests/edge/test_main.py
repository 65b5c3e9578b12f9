from __future__ import annotations

import httpx
import pytest

from compose.ports import free_port
from tests.edge.process import spawn
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
