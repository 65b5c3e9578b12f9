from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from starlette.responses import JSONResponse

from client.errors import ServerError
from client.reading import Json
from client.session.capture import capture
from tests.client.conftest import SECOND
from tests.client.server import SUMMARY, ScriptedServer
from tests.support import wait_until


async def chunks(sound: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in sound:
        yield chunk


async def collect(server: ScriptedServer, *sound: bytes, **options: Any) -> list[Json]:
    return [message async for message in capture([server.url], chunks(sound), fast=True, **options)]


async def test_a_whole_meeting(server: ScriptedServer) -> None:
    messages = await collect(server, SECOND[:1_000], SECOND[1_000:], options={"language": "ko", "summary": False})
    kinds = ["connection_success", "ack", "status", *["transcript_segment"] * 3, "final_summary"]
    assert [message["type"] for message in messages] == kinds
    assert messages[-1]["summary"] == SUMMARY
    assert server.created == [{"language": "ko", "summary": False}]
    assert server.sound == SECOND
    assert [len(frame) for frame in server.frames] == [15_360, 15_360, 1_280]
    assert server.commands == ["stop"]


@pytest.mark.parametrize(("frame_ms", "size"), [(10, 320), (100, 3_200), (1_000, 32_000)])
async def test_frames_have_the_length_asked_for(server: ScriptedServer, frame_ms: int, size: int) -> None:
    await collect(server, SECOND, b"12", frame_ms=frame_ms)
    assert [len(frame) for frame in server.frames] == [size] * (len(SECOND) // size) + [2]


async def test_in_real_time_the_same_is_sent(server: ScriptedServer) -> None:
    async for _ in capture([server.url], chunks([SECOND[:4_000]])):
        pass
    assert server.sound == SECOND[:4_000]


async def test_in_real_time_no_more_than_30_ms_are_waited_for(server: ScriptedServer) -> None:
    async def sound() -> AsyncIterator[bytes]:
        yield SECOND[:960]
        await wait_until(lambda: server.frames, description="the first frame arrives before there is more")
        yield SECOND[960:4_000]

    async for _ in capture([server.url], sound()):
        pass
    assert server.frames[0] == SECOND[:960]
    assert server.sound == SECOND[:4_000]


async def test_a_meeting_without_a_sound(server: ScriptedServer) -> None:
    assert (await collect(server))[-1]["type"] == "final_summary"
    assert (server.frames, server.commands) == ([], ["stop"])


async def test_a_slow_reader_holds_the_sound_back(server: ScriptedServer) -> None:
    seconds, taken = 600, 0
    read_on = asyncio.Event()

    async def sound() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(seconds):
            taken += 1
            yield SECOND

    async def slow(server: ScriptedServer) -> None:
        await server.hello()
        await read_on.wait()
        await server.listen()
        await server.finish()

    server.script = slow
    seen: list[int] = []

    def stalled() -> bool:
        seen.append(taken)
        return len(seen) > 50 and seen[-50] == taken > 0

    async def run() -> list[Json]:
        return [message async for message in capture([server.url], sound(), fast=True, frame_ms=1_000)]

    running = asyncio.create_task(run())
    await wait_until(stalled, description="the sender waits for the server")
    assert taken < seconds / 2
    read_on.set()
    assert (await running)[-1]["type"] == "final_summary"
    assert len(server.sound) == seconds * len(SECOND)


async def test_stop_ends_the_sound_and_the_rest_still_comes(server: ScriptedServer) -> None:
    stop = asyncio.Event()

    async def silent_pipe() -> AsyncIterator[bytes]:
        yield SECOND
        await asyncio.Event().wait()

    messages = []
    async for message in capture([server.url], silent_pipe(), fast=True, stop=stop):
        messages.append(message["type"])
        if message["type"] == "connection_success":
            stop.set()
    assert messages[-1] == "final_summary"
    assert server.commands == ["stop"]


async def test_a_silent_source_keeps_the_socket_alive(server: ScriptedServer) -> None:
    heard = asyncio.Event()

    async def silent_pipe() -> AsyncIterator[bytes]:
        await heard.wait()
        yield SECOND

    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen("keepalive")
        heard.set()
        await server.listen()
        await server.finish()

    async def head_then_pipe() -> AsyncIterator[bytes]:
        yield SECOND
        async for chunk in silent_pipe():
            yield chunk

    server.script = script
    async for _ in capture([server.url], head_then_pipe(), fast=True, keepalive=0.02):
        pass
    assert server.sound == 2 * SECOND
    assert server.commands[0] == "keepalive"
    assert server.commands[-1] == "stop"


async def test_a_source_that_fails_ends_the_job_and_raises(server: ScriptedServer) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield SECOND
        raise ValueError("damaged in the middle")

    with pytest.raises(ValueError, match="damaged in the middle"):
        async for _ in capture([server.url], broken(), fast=True):
            pass
    await wait_until(lambda: server.close_code, description="the server sees the client leave")
    assert (server.close_code, server.commands, server.sound) == (1000, [], SECOND)


async def test_a_source_that_cannot_be_read_makes_no_job(server: ScriptedServer) -> None:
    async def unreadable() -> AsyncIterator[bytes]:
        raise ValueError("not sound")
        yield b""

    with pytest.raises(ValueError, match="not sound"):
        async for _ in capture([server.url], unreadable()):
            pass
    assert server.created == []


async def test_leaving_early_closes_the_socket(server: ScriptedServer) -> None:
    messages = capture([server.url], chunks([SECOND]))
    assert (await anext(messages))["type"] == "connection_success"
    await messages.aclose()
    await wait_until(lambda: server.close_code, description="the server sees the client leave")
    assert server.close_code == 1000


async def test_a_refusal_says_when_to_try_again(server: ScriptedServer) -> None:
    problem = {"title": "Full", "detail": "no room for more audio", "retry_after": 7}
    server.refusal = JSONResponse(problem, status_code=503, media_type="application/problem+json")
    with pytest.raises(ServerError, match="503: Full: no room for more audio; try again in 7 s") as caught:
        await collect(server, SECOND)
    assert caught.value.retry_after == 7
