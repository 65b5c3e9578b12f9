"""What the capture socket does not take, and what it says then."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import websockets
from websockets.frames import Opcode

from bus import Bus
from tests.edge.capturing import FRAME, closed, play_processors
from tests.edge.conftest import Edge, StartEdge, client
from tests.edge.raw import frame, raw
from tests.support import wait_until


@pytest.mark.parametrize(
    ("options", "data", "code", "close", "says"),
    [
        ({}, b"\0" * 961, "odd_length", 1008, "961 bytes are not whole samples: a multiple of 2"),
        ({}, b"\0" * 32_002, "frame_too_large", 1009, "32002 bytes in one message: at most 32000"),
        ({"encoding": "pcm_f32le"}, b"\0" * 6, "odd_length", 1008, "a multiple of 4"),
        ({"encoding": "mulaw", "sample_rate": 8_000}, b"\0" * 8_001, "frame_too_large", 1009, "at most 8000"),
        ({"encoding": "opus"}, b"\xff" * 50, "not_audio", 1008, "not an Opus packet"),
        ({"encoding": "opus"}, b"\xff" * 9_000, "frame_too_large", 1009, "Opus packet"),
        ({"encoding": "pcm_f32le"}, struct.pack("<f", float("nan")), "not_audio", 1008, "not a number"),
    ],
)
async def test_audio_that_is_none_ends_the_connection_and_keeps_what_came_before(
    edge: Edge, worker: Bus, options: dict[str, Any], data: bytes, code: str, close: int, says: str
) -> None:
    job = await edge.create(**options)
    async with client(edge, job) as meeting:
        if not options:
            await meeting.socket.send(FRAME)
        await meeting.socket.send(data)
        assert await meeting.closed() == close
        (error,) = meeting.of("error")
        assert error["code"] == code
        assert says in error["message"]
    assert (await closed(worker, job)).samples == (0 if options else 480)


@pytest.mark.parametrize("frames", [3, 200], ids=["few", "more than are under way at a time"])
async def test_what_came_together_with_something_wrong_but_before_it_is_kept(
    edge: Edge, worker: Bus, frames: int
) -> None:
    job = await edge.create()
    async with raw(f"{edge.sockets}/api/v1/stream/{job}") as line:
        await line.until_message("connection_success")
        line.send(*[frame(Opcode.BINARY, FRAME)] * frames, frame(Opcode.BINARY, b"odd"), frame(Opcode.BINARY, FRAME))
        assert await line.closed() == 1008
        assert line.received[-1]["code"] == "odd_length"
    assert (await closed(worker, job)).samples == 480 * frames


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("{", "not_json", "a text message must be JSON"),
        ('{"command":"dance"}', "unknown_command", 'unknown command "dance": accepted are {"command":"stop"}'),
        ("[]", "unknown_command", "unknown command null"),
        ('{"command":["stop"]}', "unknown_command", 'unknown command ["stop"]'),
        ('{"command":"%s"}' % ("x" * 5_000), "unknown_command", 'unknown command "xxx'),
        ("[" * 100_000, "not_json", "a text message must be JSON"),
    ],
    ids=["half", "unknown", "list", "list in it", "long", "deep"],
)
async def test_meaningless_text_is_answered_with_an_error_and_the_meeting_goes_on(
    edge: Edge, worker: Bus, text: str, code: str, says: str
) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.socket.send(text)
        error = await meeting.until("error")
        assert error["code"] == code
        assert says in error["message"]
        assert len(error["message"]) < 300, "what a client sends is not sent back whole"
        await meeting.socket.send(FRAME)
        await meeting.command("stop")
        assert (await closed(worker, job)).samples == 480


async def test_audio_after_stop_is_refused(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.socket.send(FRAME)
        await meeting.command("stop")
        await meeting.socket.send(FRAME)
        assert (await meeting.until("error"))["code"] == "audio_after_stop"
        assert (await closed(worker, job)).samples == 480
        await play_processors(worker, job, ["Hello."], 480)
        assert await meeting.closed() == 1000


@pytest.mark.parametrize(("path", "code"), [("/api/v1/stream", 4004), ("/ws", 4004), ("/ws/v1/stream", 1008)])
@pytest.mark.parametrize("job", ["nobody", "x" * 5_000])
async def test_an_unknown_job_is_refused(edge: Edge, path: str, code: int, job: str) -> None:
    async with client(edge, job, path) as meeting:
        assert await meeting.closed() == code
        (error,) = meeting.of("error")
        assert error["code"] == "unknown_job"
        assert f"no job '{job[:50]}" in error["message"]
        assert len(error["message"]) < 200


@pytest.mark.parametrize("path", ["/nothing/here", "/ws/a/b", "/jobs"])
async def test_a_handshake_at_a_path_without_a_socket_is_answered_with_404(edge: Edge, path: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{edge.sockets}{path}", proxy=None)
    assert refused.value.response.status_code == 404
    assert b"there is no WebSocket here" in (refused.value.response.body or b"")


async def test_a_sample_that_is_no_number_is_refused(edge: Edge) -> None:
    async with client(edge, await edge.create(), query="?sample=-1") as meeting:
        assert await meeting.closed() == 1008
        assert "sample='-1': a sample index is accepted" in meeting.of("error")[0]["message"]


async def test_a_connection_that_says_nothing_ends(start_edge: StartEdge, worker: Bus) -> None:
    async with start_edge(idle=1) as edge:
        job = await edge.create()
        async with client(edge, job) as meeting:
            await meeting.socket.send(FRAME)
            assert await meeting.closed() == 4008
            assert meeting.of("error")[0]["code"] == "idle"
        end = await closed(worker, job)
        assert (end.samples, end.reason) == (480, "idle")


async def test_a_full_edge_asks_to_come_later(start_edge: StartEdge, worker: Bus) -> None:
    async with start_edge(connections=1) as edge:
        job, other = await edge.create(), await edge.create()
        async with client(edge, job) as meeting:
            await meeting.until("connection_success")
            async with client(edge, other) as refused:
                assert await refused.closed() == 1013
                (error,) = refused.of("error")
                assert (error["code"], error["retry_after"]) == ("unavailable", 2)
                assert "1 captures, as many as it takes" in error["message"]
            await meeting.command("stop")
            await closed(worker, job)


async def test_a_burst_of_clients_does_not_pass_the_limit(start_edge: StartEdge) -> None:
    async with start_edge(connections=5) as edge:
        jobs = [await edge.create() for _ in range(40)]
        async with AsyncExitStack() as stack:
            meetings = await asyncio.gather(*(stack.enter_async_context(client(edge, job)) for job in jobs))
            answers = ("connection_success", "error")
            await wait_until(
                lambda: all(any(meeting.of(kind) for kind in answers) for meeting in meetings),
                description="all answers",
            )
            admitted = [meeting for meeting in meetings if meeting.of("connection_success")]
            assert len(admitted) == 5
            await admitted[0].socket.close()
            await admitted[0].closed()

            async def has_room() -> bool:
                async with client(edge, jobs[0]) as late:
                    await wait_until(lambda: any(late.of(kind) for kind in answers), description="an answer")
                    return bool(late.of("connection_success"))

            jobs[0] = await _created(edge)
            await wait_until(has_room, description="a place is free again")


async def _created(edge: Edge) -> str:
    """A new job, once the edge takes one."""
    found: list[str] = []

    async def created() -> bool:
        async with httpx.AsyncClient(base_url=edge.url) as http:
            answer = await http.post("/api/v1/stream/create")
        found.extend([answer.json()["job_id"]] if answer.status_code == 201 else [])
        return bool(found)

    await wait_until(created, description="a job can be created")
    return found[0]


async def test_a_closed_job_takes_no_connection(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await meeting.command("stop")
        await closed(worker, job)
    async with client(edge, job) as again:
        assert await again.closed() == 4009
        assert again.of("error")[0]["code"] == "job_closed"
