"""A job that was closed while its client was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.responses import JSONResponse

from client.errors import ServerError
from client.session.capture import capture
from client.session.connection import Message
from tests.client.scripts import MEETING, breaks, chunks, collect, one_after_the_other
from tests.client.server import ScriptedServer, record, segment


async def closed(server: ScriptedServer) -> None:
    await server.refuse(4009, code="job_closed", message="this job has been closed already")


async def stops(server: ScriptedServer) -> None:
    await server.hello()
    await server.listen()
    await server.say(**segment(1, "two"))
    await server.websocket.close(1012)


async def test_a_job_that_was_closed_with_all_its_sound_is_followed_to_its_end(server: ScriptedServer) -> None:
    server.script = one_after_the_other(stops, closed)
    server.job_refusals = [JSONResponse({"retry_after": 0.1}, status_code=503)]
    server.jobs["j1"] = record("transcribing", [segment(1, "two"), segment(2, "three")])
    messages = []
    async for message in capture([server.url], chunks(MEETING), fast=True):
        messages.append(message)
        if message.get("index") == 2:
            server.jobs["j1"] = record("completed", [segment(0, "one"), segment(1, "two"), segment(2, "three")], 5.0)
    assert [message["index"] for message in messages if message["type"] == "transcript_segment"] == [1, 2, 0]
    assert messages[-2:] == [
        {"type": "ack", "samples": 80_000},
        {name: server.jobs["j1"].get(name, "final_summary") for name in ("type", "job_id", "summary", "transcript")},
    ]


@pytest.mark.parametrize("seconds", [3.0, 4.98])
async def test_a_job_that_was_closed_too_early_says_what_was_not_delivered(
    server: ScriptedServer, seconds: float
) -> None:
    """With 4.98 s it has all that was heard, but there was more to come."""
    left = asyncio.Event()

    async def microphone() -> AsyncIterator[bytes]:
        try:
            yield MEETING
            await asyncio.Event().wait()
        finally:
            left.set()

    server.script = one_after_the_other(breaks, closed)
    server.jobs["j1"] = record("completed", [segment(0, "Good morning."), segment(1, "Good night.")], seconds)
    messages: list[Message] = []
    with pytest.raises(ServerError, match=rf"job j1 was closed .*: the sound from {seconds:.1f} s on was not"):
        await collect(server.url, sound=microphone(), messages=messages)
    assert [message["index"] for message in messages if message["type"] == "transcript_segment"] == [0, 1]
    assert messages[-1]["type"] == "final_summary"
    assert left.is_set()


async def test_the_end_of_the_sound_that_a_closed_job_lacks_is_told(server: ScriptedServer) -> None:
    server.script = one_after_the_other(stops, closed)
    server.jobs["j1"] = record("completed", [], 4.99)
    with pytest.raises(ServerError, match=r"the sound from 5.0 s on was not delivered"):
        await collect(server.url)
