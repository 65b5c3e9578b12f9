"""Where clients are told that the socket of their job is, and what may be set of it."""

from __future__ import annotations

import httpx
import pytest

from bus.run import StartError, load
from edge.services import Settings
from tests.edge.conftest import StartEdge


async def told(url: str, **headers: str) -> str:
    async with httpx.AsyncClient(base_url=url) as http:
        response = await http.post("/api/v1/stream/create", headers=headers)
        return str(response.json()["ws_url"]).replace(response.json()["job_id"], "JOB")


async def test_it_is_where_the_job_was_created(start_edge: StartEdge) -> None:
    async with start_edge() as edge:
        assert await told(edge.url) == f"{edge.sockets}/api/v1/stream/JOB"
        assert await told(edge.url, Host="example.org") == "ws://example.org/api/v1/stream/JOB"
        https = await told(edge.url, Host="example.org", **{"X-Forwarded-Proto": "https"})
        assert https == "wss://example.org/api/v1/stream/JOB"


async def test_it_can_be_set_for_those_behind_a_proxy(start_edge: StartEdge) -> None:
    async with start_edge(capture_url="wss://capture.example.org/") as edge:
        assert await told(edge.url) == "wss://capture.example.org/api/v1/stream/JOB"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "70000", "less than or equal to 65535"),
        ("PORT", "", "a valid integer"),
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


def test_a_port_that_is_shared_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_PORT", "0")
    monkeypatch.setenv("EDGE_REUSE_PORT", "1")
    with pytest.raises(StartError, match=r"EDGE_REUSE_PORT='1': .*each process would take another port for 0"):
        load(Settings)
