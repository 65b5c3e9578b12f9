from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.load.client import Client, ClientFailed, Pacer, open_client
from bench.load.report import Told
from bench.load.sound import Sound
from contract import RATE
from tests.support import wait_until

Job = Callable[[ServerConnection], Awaitable[None]]

PCM = bytes(range(240)) * 40
SOUND = Sound(PCM, 480)


@asynccontextmanager
async def client_of(
    job: Callable[[ServerConnection], Awaitable[None]], *, times: bool = False
) -> AsyncIterator[Client]:
    async with serve(job, "127.0.0.1", 0, compression=None) as server:
        host, port = server.sockets[0].getsockname()[:2]
        client = Client(SOUND, 3, 30, times=times)
        await open_client(f"ws://{host}:{port}/api/v1/stream/a", client)
        yield client
        client.abort()


async def welcome(socket: ServerConnection) -> None:
    await socket.send(json.dumps({"type": "connection_success", "job_id": "a", "next_sample": 0}))


async def test_it_says_its_sound_and_leaves_once_the_last_ack_is_there() -> None:
    heard: list[bytes | str] = []
    closed: list[int | None] = []

    async def job(socket: ServerConnection) -> None:
        await welcome(socket)
        async for message in socket:
            heard.append(message)
            if message == '{"command": "stop"}':
                for samples in (480, 959, 960):
                    await socket.send(json.dumps({"type": "ack", "samples": samples}))
        closed.append(socket.close_code)

    async with client_of(job, times=True) as client:
        await client.welcomed
        client.send_frame()
        client.send_frame()
        client.stop(leave=True)
        client.send_frame()  # too late: it has stopped
        await client.ended
        await wait_until(lambda: closed, description="the server has seen the end")
    assert heard == [PCM[3 * 960 : 4 * 960], PCM[4 * 960 : 5 * 960], '{"command": "stop"}']
    assert closed == [1000]
    meeting = client.meeting(7, "a", 1.0, None)
    assert (meeting.stream, meeting.samples, meeting.acked, meeting.close) == (7, 960, 960, 1000)
    assert meeting.handed[0] == 0
    assert len(meeting.handed) == 2
    assert meeting.handed_with(481) == meeting.began + meeting.handed[1]


async def test_without_leaving_it_stays_until_the_summary() -> None:
    async def job(socket: ServerConnection) -> None:
        await welcome(socket)
        async for _ in socket:
            final = {"type": "transcript_segment", "index": 0, "start": 0.0, "end": 1.5, "text": "yes"}
            await socket.send([json.dumps(final)[:20], json.dumps(final)[20:]])  # in two fragments
            await socket.send(json.dumps({"type": "ack", "samples": 0}))
            await socket.send(json.dumps({"type": "final_summary", "job_id": "a", "summary": None}))
            return

    async with client_of(job) as client:
        await client.welcomed
        client.stop(leave=False)
        await client.ended
    (told,) = client.meeting(0, "a", 1.0, None).told
    assert told == Told(0, RATE * 3 // 2, told.at, "yes")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "error", "code": "unavailable", "message": "try later"}, "unavailable: try later"),
        ({"type": "transcript_segment", "index": 0, "end": 1, "error": "broken"}, "transcript_segment: .*broken"),
    ],
)
async def test_what_the_server_complains_about_is_told(message: dict[str, object], complaint: str) -> None:
    async def job(socket: ServerConnection) -> None:
        await socket.send(json.dumps(message))
        await socket.wait_closed()

    async with client_of(job) as client:
        with pytest.raises(ClientFailed, match=f"the server answered {complaint}"):
            await client.ended
        with pytest.raises(ClientFailed):
            await client.welcomed


@pytest.mark.parametrize(("code", "told"), [(1013, 1013), (4010, 4010), (1000, 1000)])
async def test_a_server_that_closes_early_is_told_with_its_code(code: int, told: int) -> None:
    async def job(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.close(code)

    async with client_of(job) as client:
        with pytest.raises(ClientFailed, match=f"the connection was closed by the server with {told}"):
            await client.ended
        assert client.meeting(0, "a", 1.0, "x").close == told
        client.send_frame()  # nobody is there: no matter
        client.stop(leave=True)


async def test_each_is_called_once_in_the_time_of_a_frame_until_it_is_removed() -> None:
    pacer, calls = Pacer(30), Counter[int]()
    sends = [partial(calls.update, [place]) for place in range(60)]
    for place, send in enumerate(sends):
        pacer.add(place, send)
    running = asyncio.create_task(pacer.run())
    await wait_until(lambda: pacer.frames >= 10 * 60, description="ten frames of each")
    assert max(calls.values()) - min(calls.values()) <= 1
    assert pacer.late.frames.total() == pacer.frames == calls.total()
    pacer.remove(3, sends[3])
    removed, others = calls[3], calls[33]
    await wait_until(lambda: calls[33] > others + 2, description="the others go on")
    running.cancel()
    assert calls[3] == removed
