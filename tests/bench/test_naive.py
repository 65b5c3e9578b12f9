from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.load import Plan, generating
from bench.stage import Stage, naive_part, running_stage
from bus import connect as connect_bus
from contract import RATE
from contract.audio import audio_subject, decode_audio

pytestmark = pytest.mark.slow

FRAME = bytes(range(240)) * 4


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A server whose log has to stay empty."""
    async with running_stage(tmp_path, [naive_part()]) as running:
        yield running
    assert (tmp_path / "edge.log").read_text() == ""


async def opened(stage: Stage) -> tuple[str, ClientConnection]:
    async with httpx.AsyncClient(trust_env=False) as http:
        created = (await http.post(f"{stage.url}/api/v1/stream/create", json={"title": "x"})).json()
    socket = await connect(created["ws_url"], proxy=None)
    welcome = await told(socket)
    assert welcome == {"type": "connection_success", "job_id": created["job_id"], "next_sample": 0}
    return created["job_id"], socket


async def told(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def test_what_is_said_is_stored_and_acked_to_the_end(stage: Stage) -> None:
    job, socket = await opened(stage)
    for _ in range(3):
        await socket.send(FRAME)
    assert await told(socket) == {"type": "ack", "samples": 1_440}
    await socket.send(FRAME)
    await socket.send('{"command": "keepalive"}')
    await socket.send('{"command": "stop"}')
    assert await told(socket) == {"type": "ack", "samples": 1_920}
    assert await told(socket) == {"type": "final_summary", "job_id": job, "summary": None, "transcript": ""}
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    assert socket.close_code == 1000
    async with connect_bus(stage.bus_url) as bus:
        frames = [decode_audio(raw.data) for raw in await bus.history("AUDIO", audio_subject(job))]
    assert [(frame.start, frame.pcm) for frame in frames] == [(480 * number, FRAME) for number in range(4)]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"odd", "3 bytes: whole samples of 2 bytes are accepted"),
        (bytes(2 * RATE + 2), "32002 bytes: .* up to one second"),
        ('{"command": "stpo"}', "the commands stop and keepalive are accepted"),
        ("[]", "the commands stop and keepalive are accepted"),
        ("no json", "the commands stop and keepalive are accepted"),
    ],
)
async def test_what_is_neither_sound_nor_a_command_ends_it(stage: Stage, message: str | bytes, complaint: str) -> None:
    _, socket = await opened(stage)
    await socket.send(message)
    answer = await told(socket)
    assert (answer["type"], answer["code"]) == ("error", "failed")
    assert re.search(complaint, answer["message"])
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    assert socket.close_code == 1008


async def test_a_job_that_is_not_there_is_refused(stage: Stage) -> None:
    socket = await connect(f"{stage.url.replace('http', 'ws')}/api/v1/stream/nobody", proxy=None)
    assert await told(socket) == {"type": "error", "code": "unknown_job", "message": "no job 'nobody'"}
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    assert socket.close_code == 4004


async def test_the_clients_of_the_benches_take_it_for_an_edge(stage: Stage) -> None:
    for leave in (True, False):
        async with generating(Plan(stage.url, 2, leave=leave, ramp=0.0, settle=0.7)) as clients:
            report = await clients.finish()
        assert report.excuse() == ""
        assert all(one.acked == one.samples > 0 for one in report.meetings)


async def test_a_client_that_is_gone_leaves_no_trace_in_the_log(stage: Stage) -> None:
    _, socket = await opened(stage)
    await socket.send(FRAME)
    socket.transport.abort()
    _, socket = await opened(stage)
    await socket.send(FRAME)
    await socket.close(1001)
