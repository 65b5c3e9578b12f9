"""Duplicates across connections, and a job that was closed while its client was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import JSONResponse

from client.errors import ServerError
from client.reading import Json, read_message
from client.session.capture import capture
from client.session.messages import Deduplicator, catch_up
from tests.client.scripts import MEETING, breaks, chunks, collect, one_after_the_other
from tests.client.server import SUMMARY, ScriptedServer, record, segment


def test_what_is_final_is_not_new_again() -> None:
    """A new connection may send the state of an open segment before it repeats the finals."""
    known = Deduplicator()
    speech, partial = (
        {"type": "speech_started", "start": 0.0},
        {"type": "partial", "start": 0.0, "text": "", "stable": 0},
    )
    messages: list[tuple[Json, bool]] = [
        ({"type": "connection_success", "job_id": "j1", "next_sample": 16_000}, True),
        (speech, True),
        (speech, False),
        (partial, True),
        (segment(0, "Good morning."), True),
        (segment(0, "Good morning."), False),
        (partial, False),
        (partial | {"start": 2.0}, True),
        (speech, False),
        (speech | {"start": 2.0}, True),
        ({"type": "ack", "samples": 8_000}, True),
        ({"type": "something_new"}, True),
    ]
    assert [known.is_new(read_message(message)) for message, _ in messages] == [new for _, new in messages]
    assert (known.stored, known.finals) == (16_000, 1)


def test_a_live_job_has_only_finals() -> None:
    messages = catch_up(record("transcribing", [segment(0, "one"), segment(2, "three")]))
    assert [(message["type"], message["index"]) for message in messages] == [
        ("transcript_segment", 0),
        ("transcript_segment", 2),
    ]


def test_a_completed_job_ends_as_on_a_socket() -> None:
    messages = catch_up(record("completed", [segment(0, "one")], seconds=1.25))
    assert messages[1:] == [
        {"type": "ack", "samples": 20_000},
        {"type": "final_summary", "job_id": "j1", "summary": SUMMARY, "transcript": "one", "total_segments": 1},
    ]


@pytest.mark.parametrize("state", ["failed", "deleted"])
def test_a_job_that_will_never_be_completed(state: str) -> None:
    with pytest.raises(ServerError, match=f"job j1 is {state}"):
        catch_up(record(state, []))


@pytest.mark.parametrize(
    ("broken", "what"), [({"segments": None}, "segments: "), ({"state": 7}, "state: "), ({"summary": "x"}, "summary: ")]
)
def test_a_record_that_breaks_the_contract(broken: dict[str, Any], what: str) -> None:
    with pytest.raises(ServerError, match=f"sent a job that breaks the contract: {what}"):
        catch_up(record("completed", []) | broken)


async def closed(server: ScriptedServer) -> None:
    await server.refuse(4009, code="job_closed", message="this job has been closed already")


async def stops(server: ScriptedServer) -> None:
    await server.hello()
    await server.listen()
    await server.say(**segment(1, "two"))
    await server.websocket.close(1012)


async def test_a_job_that_was_closed_with_all_its_audio_is_followed_to_its_end(server: ScriptedServer) -> None:
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
        {
            "type": "final_summary",
            "job_id": "j1",
            "summary": SUMMARY,
            "transcript": "one\ntwo\nthree",
            "total_segments": 3,
        },
    ]


@pytest.mark.parametrize("seconds", [3.0, 4.98])
async def test_a_job_that_was_closed_too_early_says_what_was_not_delivered(
    server: ScriptedServer, seconds: float
) -> None:
    """With 4.98 s it has all that was read, but the source had not ended."""
    left = asyncio.Event()

    async def microphone() -> AsyncIterator[bytes]:
        try:
            yield MEETING
            await asyncio.Event().wait()
        finally:
            left.set()

    server.script = one_after_the_other(breaks, closed)
    server.jobs["j1"] = record("completed", [segment(0, "Good morning."), segment(1, "Good night.")], seconds)
    messages: list[Json] = []
    with pytest.raises(ServerError, match=rf"job j1 was closed .*: the audio from {seconds:.1f} s on was not"):
        await collect(server.url, sound=microphone(), messages=messages)
    assert [message["index"] for message in messages if message["type"] == "transcript_segment"] == [0, 1]
    assert messages[-1]["type"] == "final_summary"
    assert left.is_set()


async def test_audio_that_a_closed_job_lacks_is_reported(server: ScriptedServer) -> None:
    server.script = one_after_the_other(stops, closed)
    server.jobs["j1"] = record("completed", [], 4.99)
    with pytest.raises(ServerError, match=r"the audio from 5.0 s on was not delivered"):
        await collect(server.url)
