"""One connection: what a server may answer, and tasks that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from starlette.responses import JSONResponse

from client.errors import ClientError, ServerError
from client.reading import Json
from client.session import connection
from client.session.capture import capture
from client.session.sender import Sender
from tests.client.conftest import SECOND
from tests.client.inprocess import invoke
from tests.client.scripts import chunks
from tests.client.scripts import collect as collect_from
from tests.client.server import FINAL, ScriptedServer
from tests.support import wait_until

WELCOME: Json = {"type": "connection_success", "job_id": "j1", "next_sample": 0}


async def collect(server: ScriptedServer, *sound: bytes) -> list[Json]:
    return await collect_from(server.url, sound=chunks(*sound))


async def test_an_error_message_is_passed_on_and_explains_the_close(server: ScriptedServer) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.receive()
        await server.say(type="error", code="odd_length", message="a frame is whole samples")
        await server.websocket.close(1008)

    server.script = script
    messages = capture([server.url], chunks(*[SECOND] * 100))
    assert [(await anext(messages))["type"] for _ in range(2)] == ["connection_success", "error"]
    with pytest.raises(ServerError, match=r"a frame is whole samples \(closed with 1008, protocol error\)"):
        await anext(messages)


async def test_closed_before_it_began(server: ScriptedServer) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.websocket.accept()
        await server.websocket.close(4004)

    server.script = script
    with pytest.raises(ServerError, match=r"closed with 4004, no such job"):
        await collect(server, SECOND)


async def test_a_handshake_that_is_refused(server: ScriptedServer) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.websocket.close()

    server.script = script
    with pytest.raises(ServerError, match="the server answered 403: Forbidden"):
        await collect(server, SECOND)


async def test_a_close_without_summary_is_not_taken_for_the_end(server: ScriptedServer) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen()
        await server.websocket.close(1000)

    server.script = script
    with pytest.raises(ServerError, match=r"ended before its summary \(closed with 1000"):
        await collect(server, SECOND)


@pytest.mark.parametrize("text", ["no json", "[1]", '"type"', '{"kind": 1}', "null"])
async def test_a_message_that_is_no_json_with_a_type(server: ScriptedServer, text: str) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.websocket.accept()
        await server.websocket.send_text(text)
        await server.listen()

    server.script = script
    with pytest.raises(ServerError, match="no JSON object with a type"):
        await collect(server, SECOND)


async def test_an_invalid_socket_address(server: ScriptedServer) -> None:
    for ws_url in ("mailto:x", "ws://[x", "ws://x:99999"):
        server.refusal = JSONResponse({"job_id": "j1", "ws_url": ws_url}, status_code=201)
        with pytest.raises(ServerError, match="sent a ws_url that is not valid"):
            await collect(server, SECOND)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "connection_success", "job_id": "j1"}, "next_sample: Field required"),
        (WELCOME | {"next_sample": 16_001}, "expects sample 16001 next, but the client has only 0 to "),
        ({"type": "ack", "samples": 16_001}, "acked 16001 samples of "),
        ({"type": "ack", "samples": "all"}, "samples: Input should be a valid integer"),
        (FINAL, "the audio from 0.0 s on was not delivered"),
    ],
)
async def test_a_message_that_breaks_the_contract(server: ScriptedServer, message: Json, complaint: str) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.websocket.accept()
        await server.say(**message)
        await server.websocket.close(1000)

    server.script = script
    with pytest.raises(ServerError, match=complaint):
        await collect(server, SECOND)


def fail_in_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def pcm(*_: object, **__: object) -> Iterator[bytes]:
        yield SECOND
        raise RuntimeError("injected")

    monkeypatch.setattr("client.commands.stream.pcm", pcm)


def fail_while_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_rest(_: bytearray) -> bytes:
        raise RuntimeError("injected")

    monkeypatch.setattr("client.session.sender.take_rest", take_rest)


def fail_while_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    async def next_frame(_: Sender) -> bytes:
        raise RuntimeError("injected")

    monkeypatch.setattr(Sender, "next_frame", next_frame)


def fail_in_the_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep_alive(*_: object) -> None:
        raise RuntimeError("injected")

    monkeypatch.setattr(connection, "_keep_alive", keep_alive)


@pytest.mark.parametrize(
    ("fail", "what"),
    [
        (fail_in_the_source, "reading the audio"),
        (fail_while_reading, "reading the audio"),
        (fail_while_sending, "sending the audio"),
        (fail_in_the_keepalive, "sending the audio"),
    ],
)
async def test_a_background_task_that_fails_ends_the_command(
    server: ScriptedServer,
    flac: str,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[pytest.MonkeyPatch], None],
    what: str,
) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen("disconnect")

    server.script = script
    fail(monkeypatch)
    code, out, err = await invoke("stream", flac, "--fast", "--server", server.url)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"stenobus: to see the job: stenobus job j1 --server {server.url}",
        f"stenobus: {what} failed: RuntimeError('injected')",
    ]
    await wait_until(lambda: server.close_code, description="the server sees the client leave")
    assert server.close_code == 1000


async def test_a_source_that_is_cancelled_is_no_end(server: ScriptedServer) -> None:
    async def cancelled() -> AsyncIterator[bytes]:
        yield SECOND
        raise asyncio.CancelledError

    with pytest.raises(ClientError, match="reading the audio was cancelled"):
        await collect_from(server.url, sound=cancelled())
    assert server.commands == []
