from __future__ import annotations

import errno

import pytest
from starlette.responses import HTMLResponse, JSONResponse

from client.api import CreatedJob, check_server, create_job, explain, get_job, socket_url, try_each
from client.errors import ServerError, UnavailableError, UnreachableError
from tests.client.server import ScriptedServer


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://example.org/steno/", "http://[::1]:1"])
def test_addresses_that_are_taken(url: str) -> None:
    assert check_server(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ws://x",
        "http://",
        "http:///path",
        "ftp://x",
        "http://x/?q=1",
        "http://x/#a",
        "http://[::1",
        "http://x:99999",
        "http://\udcff",
    ],
)
def test_addresses_that_are_not(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address like http://HOST:PORT"):
        check_server(url)


async def test_a_created_job_has_a_socket(server: ScriptedServer) -> None:
    job = await create_job(server.url, {"title": "t"})
    assert job == CreatedJob("j1", socket_url(server.url, "j1"))
    assert server.created == [{"title": "t"}]


async def test_a_relative_ws_url_is_below_the_server(server: ScriptedServer) -> None:
    server.refusal = JSONResponse({"job_id": "j9", "ws_url": "/api/v1/stream/j9"}, status_code=201)
    assert await create_job(server.url, {}) == CreatedJob("j9", server.url.replace("http", "ws") + "/api/v1/stream/j9")


@pytest.mark.parametrize("ws_url", ["/api/v1/stream/j9", "/steno/api/v1/stream/j9", "api/v1/stream/j9"])
async def test_a_relative_ws_url_is_below_the_path_of_the_server(server: ScriptedServer, ws_url: str) -> None:
    server.refusal = JSONResponse({"job_id": "j9", "ws_url": ws_url}, status_code=201)
    socket = server.url.replace("http", "ws") + "/steno/api/v1/stream/j9"
    assert await create_job(f"{server.url}/steno", {}) == CreatedJob("j9", socket)


async def test_another_kind_of_server(server: ScriptedServer) -> None:
    server.refusal = HTMLResponse("hello")
    with pytest.raises(ServerError, match="does not answer like a Stenobus server"):
        await create_job(server.url, {})
    server.refusal = JSONResponse({"job_id": "j9"})
    with pytest.raises(ServerError, match="named no job_id and ws_url"):
        await create_job(server.url, {})


async def test_jobs(server: ScriptedServer) -> None:
    server.jobs["a/b"] = {}
    server.jobs["j1"] = {"state": "completed"}
    assert await get_job(server.url, "j1") == {"state": "completed"}
    with pytest.raises(ServerError, match="404: Not Found: no job j2"):
        await get_job(server.url, "j2")


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/api/v1/stream/a%2Fb"),
        ("https://example.org/steno", "wss://example.org/steno/api/v1/stream/a%2Fb"),
    ],
)
def test_the_socket_of_a_job_at_any_server(server: str, url: str) -> None:
    assert socket_url(server, "a/b") == url


async def test_servers_are_asked_in_turn_until_one_can_answer() -> None:
    asked = []

    async def ask(server: str) -> str:
        asked.append(server)
        match server:
            case "down":
                raise UnreachableError(server)
            case "full":
                raise UnavailableError(server)
            case "strict":
                raise ServerError(server)
        return server.upper()

    assert await try_each(["down", "full", "up", "other"], ask) == (2, "UP")
    assert asked == ["down", "full", "up"]
    with pytest.raises(UnreachableError, match="down"):
        await try_each(["full", "down"], ask)
    with pytest.raises(ServerError, match="strict"):
        await try_each(["strict", "up"], ask)


async def test_nobody_there(closed_port: int) -> None:
    with pytest.raises(UnreachableError, match=rf"cannot reach http://127.0.0.1:{closed_port}: connection refused"):
        await get_job(f"http://127.0.0.1:{closed_port}", "j1")


def test_the_cause_of_a_library_error_is_shown() -> None:
    error = RuntimeError("All connection attempts failed")
    error.__cause__ = ExceptionGroup("several", [ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")])
    assert explain(error) == "connection refused"
    assert explain(TimeoutError()) == "TimeoutError"
