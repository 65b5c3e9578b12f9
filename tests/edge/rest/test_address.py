"""Where clients are told that the socket of their job is, and what may be set of it."""

from __future__ import annotations

import httpx
import pytest
import websockets

from bus.run import StartError, load
from edge.services import Settings
from tests.edge.conftest import StartEdge


async def told(url: str, **headers: str) -> str:
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.post("/api/v1/stream/create", headers=headers)
        return str(response.json()["ws_url"]).replace(response.json()["job_id"], "JOB")


async def test_without_a_capture_port_it_is_where_the_job_was_created(start_edge: StartEdge) -> None:
    async with start_edge() as edge:
        assert await told(edge.url) == f"{edge.sockets}/api/v1/stream/JOB"
        assert await told(edge.url, Host="example.org") == "ws://example.org/api/v1/stream/JOB"
        https = await told(edge.url, Host="example.org", **{"X-Forwarded-Proto": "https"})
        assert https == "wss://example.org/api/v1/stream/JOB"


@pytest.mark.parametrize("listener", ["picows"], indirect=True)
async def test_it_is_on_the_capture_port_of_the_same_host(start_edge: StartEdge) -> None:
    async with start_edge() as edge:
        port = edge.sockets.rsplit(":", 1)[1]
        assert await told(edge.url) == f"{edge.sockets}/api/v1/stream/JOB"
        assert await told(edge.url, Host="example.org") == f"ws://example.org:{port}/api/v1/stream/JOB"
        assert await told(edge.url, Host="[::1]:8000") == f"ws://[::1]:{port}/api/v1/stream/JOB"
        # The capture port speaks no TLS, and who came by https must not be told to go without.
        https = await told(edge.url, Host="example.org", **{"X-Forwarded-Proto": "https"})
        assert https == "wss://example.org/api/v1/stream/JOB"


async def test_port_0_takes_a_free_one_and_tells_it(start_edge: StartEdge) -> None:
    async with start_edge(capture_port=0) as edge:
        url = await told(edge.url)
        assert not url.startswith((edge.sockets, "ws://127.0.0.1:0/"))
        async with websockets.connect(url, proxy=None) as client:
            assert "unknown_job" in str(await client.recv())


async def test_it_can_be_set_for_those_behind_a_proxy(start_edge: StartEdge) -> None:
    async with start_edge(capture_url="wss://capture.example.org/") as edge:
        assert await told(edge.url) == "wss://capture.example.org/api/v1/stream/JOB"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CAPTURE_PORT", "70000", "less than or equal to 65535"),
        ("CAPTURE_PORT", "", "a valid integer"),
        ("CAPTURE_PORT", "8000", "EDGE_PORT is the same"),
        ("CAPTURE_URL", "https://example.org", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://example.org/captures", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://me@example.org", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://example.org:70000", "Port out of range"),
        ("REUSE_PORT", "often", "a valid boolean"),
    ],
)
def test_a_bad_setting_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(f"EDGE_{name}", value)
    with pytest.raises(StartError) as told:
        load(Settings)
    assert str(told.value).startswith(f"EDGE_{name}={value!r}: ")
    assert says in str(told.value)


@pytest.mark.parametrize("name", ["EDGE_PORT", "EDGE_CAPTURE_PORT"])
def test_ports_that_are_shared_must_be_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")
    monkeypatch.setenv("EDGE_REUSE_PORT", "1")
    with pytest.raises(StartError, match=r"EDGE_REUSE_PORT='1': .*each process would take another port for 0"):
        load(Settings)
