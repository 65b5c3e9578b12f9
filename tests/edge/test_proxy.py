"""What reverse proxies say of a request, and an edge below a path prefix."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import websockets
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus

from bus import Bus
from bus.connection import Connection
from edge.app import application
from edge.proxy import OWN, read_prefix
from edge.services import Settings, services
from store.jobs import StoreSettings
from tests.edge.conftest import Edge, StartEdge

PREFIX = {"X-Forwarded-Prefix": "/steno"}


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("", ""), ("/", ""), ("/steno", "/steno"), ("/a/b-1.~_/", "/a/b-1.~_"), ("/a, /b/", "/a/b"), (",/a", "/a")],
)
def test_a_prefix(text: str, prefix: str) -> None:
    assert read_prefix(text) == prefix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((text, "a path such as /steno is accepted") for text in ("steno", "//evil.org", "/a//b", "/..", "/a/./b")),
        *(
            (text, "a path such as /steno is accepted")
            for text in ('/"><script>', "/a b", "/a?b", "/sténo", "http://x")
        ),
        ("/api/steno", "must not begin with a path of the server's own, /api"),
        ("/, /jobs", "must not begin with a path of the server's own, /jobs"),
    ],
)
def test_what_is_no_prefix(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_prefix(text)


async def test_no_prefix_can_be_taken_for_a_path_of_the_server() -> None:
    async with services(Bus(Connection("nats://127.0.0.1:1")), Settings(), StoreSettings()) as shared:
        paths = [route.path for route in application(shared).routes if isinstance(route, (Route, WebSocketRoute))]
    assert {path.split("/")[1] for path in paths} - {"", "{path:path}"} == OWN


async def answer(edge: Edge, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
        return await http.request(method, path, headers=headers)


async def created(edge: Edge, path: str = "", **headers: str) -> tuple[str, str]:
    """The id of a new job, and the address of its socket with JOB for it."""
    response = await answer(edge, f"{path}/api/v1/stream/create", "POST", **headers)
    assert response.status_code == 201, response.text
    job = response.json()["job_id"]
    return job, response.json()["ws_url"].replace(job, "JOB")


async def welcome(url: str, **headers: str) -> str:
    async with websockets.connect(url, additional_headers=headers, compression=None, proxy=None) as socket:
        return str(await socket.recv())


@pytest.mark.parametrize("path", ["", "/steno"])
async def test_a_configured_prefix_may_be_left_in_the_path_or_removed(start_edge: StartEdge, path: str) -> None:
    async with start_edge(root_path="/steno/") as edge:
        job, socket = await created(edge, path)
        assert socket == f"{edge.sockets}/steno/api/v1/stream/JOB"
        assert (await answer(edge, f"{path}/api/v1/jobs/{job}")).json()["job_id"] == job
        assert "connection_success" in await welcome(f"{edge.sockets}{path}/api/v1/stream/{job}")
        for page in ("/", "/jobs", f"/jobs/{job}"):
            text = (await answer(edge, path + page)).text
            assert 'src="/steno/web/main.js"' in text
            assert '"/web' not in text
        assert (await answer(edge, f"{path}/web/main.js")).status_code == 200
        assert (await answer(edge, f"{path}/steno/web/main.js")).status_code == (200 if not path else 404)
        await described(edge, path, "/steno")


async def described(edge: Edge, path: str, root: str, **headers: str) -> None:
    """Check that the documents name the prefix."""
    openapi: dict[str, Any] = (await answer(edge, f"{path}/openapi.json", **headers)).json()
    assert openapi["servers"] == [{"url": root}]
    asyncapi = (await answer(edge, f"{path}/asyncapi.json", **headers)).json()
    assert asyncapi["servers"]["edge"]["pathname"] == root
    docs = (await answer(edge, f"{path}/docs", **headers)).text
    assert f'href="{root}/web/styles/docs.css"' in docs
    assert f'href="{root}/openapi.json"' in docs
    assert f"all paths are below <code>{root}</code>" in docs


async def test_a_prefix_without_its_slash_is_redirected(start_edge: StartEdge) -> None:
    async with start_edge(root_path="/steno", hosts="example.org") as edge:
        response = await answer(edge, "/steno", Host="example.org", **{"X-Forwarded-Proto": "https"})
        assert (response.status_code, response.headers["location"]) == (307, "https://example.org/steno/")
        assert (await answer(edge, "/stenography")).status_code == 404


async def test_a_trusted_proxy_names_the_prefix_and_the_host(start_edge: StartEdge) -> None:
    async with start_edge(root_path="/other") as edge:
        job, socket = await created(edge, **PREFIX)
        assert socket == f"{edge.sockets}/steno/api/v1/stream/JOB"
        forwarded = {"X-Forwarded-Host": "example.org:8443, inner", "X-Forwarded-Proto": "https"} | PREFIX
        assert (await created(edge, **forwarded))[1] == "wss://example.org:8443/steno/api/v1/stream/JOB"
        chained = {"X-Forwarded-Prefix": "/a/, /b"}
        assert (await created(edge, **chained))[1] == f"{edge.sockets}/a/b/api/v1/stream/JOB"
        assert (await created(edge, **{"X-Forwarded-Prefix": "/"}))[1] == f"{edge.sockets}/api/v1/stream/JOB"
        assert "connection_success" in await welcome(f"{edge.sockets}/api/v1/stream/{job}", **PREFIX)
        assert 'src="/steno/web/main.js"' in (await answer(edge, "/jobs", **PREFIX)).text
        await described(edge, "", "/steno", **PREFIX)
        await described(edge, "", "/other")  # what was built for one prefix is not sent for another


async def test_others_are_not_believed(start_edge: StartEdge) -> None:
    async with start_edge(trusted_proxies="192.0.2.0/24, 2001:db8::1") as edge:
        forged = {"X-Forwarded-Host": "evil.org", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "//evil.org"}
        assert (await created(edge, **forged))[1] == f"{edge.sockets}/api/v1/stream/JOB"
        assert "evil.org" not in (await answer(edge, "/docs", **forged)).text
    async with start_edge(trusted_proxies="127.0.0.0/8") as edge:
        assert (await created(edge, **PREFIX))[1] == f"{edge.sockets}/steno/api/v1/stream/JOB"


@pytest.mark.parametrize(
    ("header", "value", "says"),
    [
        ("X-Forwarded-Prefix", "//evil.org", "X-Forwarded-Prefix: '//evil.org': a path such as /steno is accepted"),
        ("X-Forwarded-Prefix", "/jobs", "X-Forwarded-Prefix: '/jobs': a prefix must not begin with a path of the"),
        ("X-Forwarded-Host", "a/b", "X-Forwarded-Host: 'a/b': a host is accepted, and a port"),
    ],
)
async def test_an_unreadable_header_is_refused_in_a_sentence(edge: Edge, header: str, value: str, says: str) -> None:
    response = await answer(edge, "/jobs", **{header: value})
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert response.json()["detail"].startswith(says)
    with pytest.raises(InvalidStatus) as refused:
        await welcome(f"{edge.sockets}/api/v1/stream/x", **{header: value})
    assert refused.value.response.status_code == 400
    assert says.encode() in (refused.value.response.body or b"")
