"""Requests by names that are not the server's, and from pages of other sites."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from edge.origin import read_hosts, read_origins
from tests.edge.conftest import Edge, StartEdge

APP = "https://app.example.org"


async def status(edge: Edge, path: str = "/api/v1/jobs", method: str = "GET", **headers: str) -> int:
    async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
        return (await http.request(method, path, headers=headers)).status_code


async def socket_status(edge: Edge, *, host: str | None = None, **headers: str) -> int:
    """Of a handshake; 101 if it was accepted."""
    address = f"127.0.0.1:{port(edge)}"
    uri = f"ws://{host or address}/api/v1/stream/{await edge.create()}"
    try:
        async with websockets.connect(uri, host="127.0.0.1", port=int(port(edge)), additional_headers=headers):
            return 101
    except InvalidStatus as exc:
        return exc.response.status_code


def port(edge: Edge) -> str:
    return edge.url.rpartition(":")[2]


@pytest.fixture
async def listing(start_edge: StartEdge) -> AsyncIterator[Edge]:
    """An edge with a name of its own, and one other site that may use it."""
    async with start_edge(hosts="steno.example.org,*.example.net", origins=APP) as started:
        yield started


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "192.168.0.7:8000", "[::1]:8000", "localhost:1", "LOCALHOST", "a.localhost", "edge:8000"),
        *("steno.example.org", "Steno.Example.org:8443", "steno.example.org.", "a.example.net", "a.b.example.net:80"),
    ],
)
async def test_a_name_of_the_server(listing: Edge, host: str) -> None:
    assert await status(listing, host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.org", "evil.org:8000", "example.net", "evilexample.net", "steno.example.org.evil.org", "127.0.0.1.evil.org"],
)
async def test_a_name_that_leads_here_but_is_not_ours(listing: Edge, host: str) -> None:
    """Whatever such a page adds: it may read all answers, so the browser lets it send any header."""
    for more in ({}, {"x-forwarded-host": "localhost"}, {"origin": f"http://{host}"}):
        assert await status(listing, host=host, **more) == 421
    assert await status(listing, "/", host=host) == 421
    assert await socket_status(listing, host=host) == 421


@pytest.mark.parametrize(
    "origin", ["https://evil.org", "http://localhost", "http://127.0.0.1:1", "null", "file://", "", APP + ":1"]
)
async def test_a_page_of_another_site_changes_nothing(listing: Edge, origin: str) -> None:
    assert await socket_status(listing, origin=origin) == 403
    async with httpx.AsyncClient(base_url=listing.url, headers={"origin": origin}) as http:
        for method, path in (("POST", "/api/v1/stream/create"), ("DELETE", "/api/v1/jobs/a1b2")):
            answer = await http.request(method, path)
            assert (answer.status_code, "EDGE_ORIGINS" in answer.json()["detail"]) == (403, True)
        answer = await http.get("/api/v1/jobs")
        assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (200, None)  # it cannot read


async def test_our_own_page(listing: Edge) -> None:
    for origin, more in (
        (listing.url, {}),
        ("https://steno.example.org", {"host": "steno.example.org"}),  # TLS ends at a proxy that does not say so
        ("https://steno.example.org:8443", {"host": "steno.example.org:8443"}),
        ("http://steno.example.org:80", {"host": "steno.example.org"}),
        (f"http://[::1]:{port(listing)}", {"host": f"[::1]:{port(listing)}"}),
        ("https://other.example", {"x-forwarded-host": "other.example"}),  # a proxy that does not keep `Host`
    ):
        assert await status(listing, "/api/v1/stream/create", "POST", origin=origin, **more) == 201
        assert await socket_status(listing, origin=origin, **more) == 101


async def test_pages_of_a_listed_site(listing: Edge) -> None:
    assert await socket_status(listing, origin=APP) == 101
    async with httpx.AsyncClient(base_url=listing.url, headers={"origin": APP}) as http:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        preflight = await http.options("/api/v1/stream/create", headers=asked)
        created = await http.post("/api/v1/stream/create", json={})
    assert (preflight.status_code, created.status_code) == (200, 201)
    assert {answer.headers["access-control-allow-origin"] for answer in (preflight, created)} == {APP}


async def test_the_host_of_the_capture_url_is_a_name_of_the_server(start_edge: StartEdge) -> None:
    async with start_edge(capture_url="wss://capture.example.org:8443") as edge:
        assert await socket_status(edge, host="capture.example.org:8443") == 101


async def test_every_site_and_name_can_be_allowed(start_edge: StartEdge) -> None:
    async with start_edge(hosts="*", origins="*") as edge:
        assert await socket_status(edge, host="any.example", origin="null") == 101
        assert await status(edge, "/api/v1/stream/create", "POST", origin="https://evil.org") == 201


async def test_answers_are_not_taken_for_pages(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as http:
        api, page = await http.get("/api/v1/jobs"), await http.get("/")
    assert api.headers["x-content-type-options"] == page.headers["x-content-type-options"] == "nosniff"
    assert api.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "script-src" in page.headers["content-security-policy"]


@pytest.mark.parametrize("text", ["https://a.org", "a.org:80", "*.", "a b", "a/b", "[::1]"])
def test_what_is_no_host_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no host name: names such as"):
        read_hosts(f"localhost,{text}")


@pytest.mark.parametrize("text", ["a.org", "ws://a.org", "https://a.org/x", "https://", "https://a.org:x", "null"])
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin: a scheme and a host"):
        read_origins(f"{APP},{text}")
