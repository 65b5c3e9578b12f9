"""A capture whose connections break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.responses import JSONResponse

from client.errors import ServerError, UnreachableError
from client.session import connection
from client.session.retry import Reconnecting
from tests.client.scripts import MEETING, breaks, chunks, collect, goes_on, one_after_the_other
from tests.client.server import ScriptedServer, scripted_server, segment
from tests.support import wait_until

SECOND = bytes(range(256)) * 125


async def test_a_broken_connection_resumes_where_the_server_is(server: ScriptedServer) -> None:
    server.script = one_after_the_other(breaks, goes_on)
    seen: list[Reconnecting] = []
    messages = await collect(server.url, on_reconnect=seen.append)
    assert server.samples == ["0", "32000"]
    assert server.sound == MEETING
    assert server.commands == ["stop"]
    assert [message["index"] for message in messages if message["type"] == "transcript_segment"] == [0, 1]
    assert [message["type"] for message in messages].count("connection_success") == 2
    assert [(each.job_id, each.attempt, each.kept) for each in seen] == [("j1", 1, 3.0)]
    assert "closed with 1006, the connection broke" in seen[0].reason


async def test_what_is_final_is_not_shown_as_open_again(server: ScriptedServer) -> None:
    """A new connection may send interim text before it repeats the finals."""

    async def half(server: ScriptedServer) -> None:
        await server.hello()
        await server.take(3)
        await server.say(type="ack", samples=32_000)
        await server.say(type="speech_started", start=0.0)
        await server.say(type="partial", start=0.0, text="Good mor", stable=0)
        await server.say(**segment(0, "Good morning."))
        await server.say(type="speech_started", start=2.0)
        await server.say(type="partial", start=2.0, text="And", stable=0)
        await server.receive()
        server.abort()

    async def again(server: ScriptedServer) -> None:
        await server.hello(48_000)
        await server.say(type="speech_started", start=0.0)
        await server.say(type="partial", start=0.0, text="Good morning", stable=0)
        await server.say(**segment(0, "Good morning."))
        await server.say(type="speech_started", start=2.0)
        await server.say(type="partial", start=2.0, text="And so", stable=3)
        await server.listen()
        await server.say(**segment(1, "And so on."))
        await server.say(type="partial", start=2.0, text="And so on", stable=3)
        await server.finish()

    server.script = one_after_the_other(half, again)
    kinds = {"speech_started", "partial", "transcript_segment"}
    shown = [
        (message["type"], message.get("text")) for message in await collect(server.url) if message["type"] in kinds
    ]
    assert shown == [
        ("speech_started", None),
        ("partial", "Good mor"),
        ("transcript_segment", "Good morning."),
        ("speech_started", None),
        ("partial", "And"),
        ("partial", "And so"),
        ("transcript_segment", "And so on."),
    ]


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
async def test_a_server_that_goes_away_is_called_again(server: ScriptedServer, code: int) -> None:
    async def leaves(server: ScriptedServer) -> None:
        await server.hello()
        await server.take(3)
        await server.say(type="ack", samples=32_000)
        await server.websocket.close(code)

    server.script = one_after_the_other(leaves, goes_on)
    assert (await collect(server.url))[-1]["type"] == "final_summary"
    assert server.sound == MEETING


async def test_sound_that_was_sent_and_not_stored_is_sent_again(server: ScriptedServer) -> None:
    async def has_less(server: ScriptedServer) -> None:
        await server.hello(32_000)
        await server.listen()
        await server.finish()

    server.script = one_after_the_other(breaks, has_less)
    await collect(server.url)
    assert server.sound == MEETING


async def test_servers_are_called_in_turn(server: ScriptedServer, closed_port: int) -> None:
    nobody = f"http://127.0.0.1:{closed_port}"
    seen: list[Reconnecting] = []
    async with scripted_server() as other:
        server.script = breaks
        other.script = goes_on
        other.frames = [MEETING[:96_000]]
        messages = await collect(nobody, server.url, nobody, other.url, on_reconnect=seen.append)
        assert messages[-1]["type"] == "final_summary"
        assert other.sound == MEETING
        assert (server.samples, other.samples, other.created) == (["0"], ["32000"], [])
    assert len(seen) == 2
    assert "connection refused" in seen[1].reason


async def test_a_refusal_that_passes_is_waited_for(server: ScriptedServer) -> None:
    async def full(server: ScriptedServer) -> None:
        await server.refuse(1013, code="unavailable", message="the store does not answer", retry_after=0.3)

    async def gateway(server: ScriptedServer) -> None:
        refusal = JSONResponse({"retry_after": 0.25}, status_code=503)
        await server.websocket.send_denial_response(refusal)

    server.script = one_after_the_other(breaks, full, gateway, goes_on)
    seen: list[Reconnecting] = []
    await collect(server.url, on_reconnect=seen.append)
    assert server.sound == MEETING
    assert [each.attempt for each in seen] == [1, 2, 3]
    assert seen[1].retry_in >= 0.3
    assert seen[2].retry_in >= 0.25
    assert "the store does not answer" in seen[1].reason


@pytest.mark.parametrize(
    ("code", "close", "meaning"),
    [
        ("gap", 1008, "protocol error"),
        ("unknown_job", 4004, "no such job"),
    ],
)
async def test_a_refusal_that_stays_ends_the_capture(
    server: ScriptedServer, code: str, close: int, meaning: str
) -> None:
    async def refuses(server: ScriptedServer) -> None:
        await server.refuse(close, code=code, message="this is why")

    server.script = one_after_the_other(breaks, refuses)
    with pytest.raises(ServerError, match=rf"this is why \(closed with {close}, {meaning}\)"):
        await collect(server.url)
    assert server.connections == 2


@pytest.mark.parametrize(("broken", "connections"), [(0, 1), (1, 3)])
async def test_each_abandoned_connection_may_take_the_job_over_once(
    server: ScriptedServer, broken: int, connections: int
) -> None:
    async def taken(server: ScriptedServer) -> None:
        await server.refuse(4010, code="taken_over", message="a newer connection has this job")

    server.script = one_after_the_other(*[breaks] * broken, *[taken] * (broken + 1))
    with pytest.raises(ServerError, match=r"a newer connection has this job \(closed with 4010"):
        await collect(server.url)
    assert server.connections == connections


async def test_a_server_that_never_welcomes_is_tried_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WELCOME_WITHIN", 0.5)

    async def silent(server: ScriptedServer) -> None:
        await server.websocket.accept()
        await server.listen()

    server.script = one_after_the_other(silent, goes_on)
    server.frames = [MEETING[:96_000]]
    assert (await collect(server.url))[-1]["type"] == "final_summary"
    await wait_until(lambda: server.close_code, description="the server sees the connection break")
    assert server.close_code in (1005, 1006), "a good-bye would end the job"


async def test_a_microphone_does_not_wait_for_a_connection(server: ScriptedServer) -> None:
    back = asyncio.Event()
    seen: list[Reconnecting] = []

    def on_reconnect(outage: Reconnecting) -> None:
        seen.append(outage)
        if outage.kept > seen[0].kept + 0.5:
            back.set()

    async def away_for_a_while(server: ScriptedServer) -> None:
        if not back.is_set():
            await server.refuse(1013, code="unavailable", message="later", retry_after=0.1)
            return
        await server.hello(8_000)
        await server.listen()
        await server.finish()

    async def breaks_early(server: ScriptedServer) -> None:
        await server.hello()
        await server.take(0.5)
        server.abort()

    server.script = one_after_the_other(breaks_early, away_for_a_while)
    await collect(server.url, sound=chunks(MEETING[:64_000]), fast=False, on_reconnect=on_reconnect)
    assert server.sound == MEETING[:64_000]


async def test_stop_during_an_outage_still_delivers_what_was_recorded(server: ScriptedServer) -> None:
    stop = asyncio.Event()

    async def microphone() -> AsyncIterator[bytes]:
        yield MEETING
        await asyncio.Event().wait()

    server.script = one_after_the_other(breaks, goes_on)
    await collect(server.url, sound=microphone(), stop=stop, on_reconnect=lambda _: stop.set())
    assert server.sound == MEETING
    assert server.commands == ["stop"]


async def test_reading_waits_when_a_minute_of_sound_is_not_acked(server: ScriptedServer) -> None:
    taken = 0

    async def sound() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(90):
            taken += 1
            yield SECOND

    async def stingy(server: ScriptedServer) -> None:
        await server.hello()
        await server.take(60)
        assert await server.receive() == "keepalive", "no more sound comes"
        assert taken == 61
        await server.ack()
        await server.listen()
        await server.finish()

    server.script = stingy
    await collect(server.url, sound=sound(), frame_ms=100, keepalive=0.2)
    assert server.sound == 90 * SECOND


async def test_the_resume_point_counts_as_acked_after_a_while(server: ScriptedServer) -> None:
    async def stingy(server: ScriptedServer) -> None:
        await server.hello()
        await server.take(60)
        server.abort()

    async def has_all(server: ScriptedServer) -> None:
        await server.hello(60 * 16_000)
        await server.listen()
        await server.finish()

    server.script = one_after_the_other(stingy, has_all)
    await collect(server.url, sound=chunks(*[SECOND] * 70), frame_ms=100)
    assert server.samples == ["0", "0"]
    assert server.sound == 70 * SECOND


async def test_stop_is_sent_again_if_the_connection_breaks_before_the_summary(server: ScriptedServer) -> None:
    async def breaks_late(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen()
        server.abort()

    async def has_all(server: ScriptedServer) -> None:
        await server.hello(len(MEETING) // 2)
        await server.listen()
        await server.finish()

    server.script = one_after_the_other(breaks_late, breaks_late, has_all)
    assert (await collect(server.url))[-1]["type"] == "final_summary"
    assert server.commands == ["stop", "stop", "stop"]
    assert server.sound == MEETING


async def test_a_server_that_breaks_each_time_is_given_up(server: ScriptedServer) -> None:
    async def breaks_at_once(server: ScriptedServer) -> None:
        await server.hello(48_000)
        server.abort()

    server.script = one_after_the_other(breaks, breaks_at_once)
    with pytest.raises(
        UnreachableError, match=r"gave up on job j1 after 2 s: .*; \d\.\d s of audio were not"
    ) as caught:
        await collect(server.url, give_up_after=2)
    assert caught.value.exit_code == 3
    assert server.connections > 2


async def test_a_job_whose_socket_never_opens_is_given_up(server: ScriptedServer, closed_port: int) -> None:
    ws_url = f"ws://127.0.0.1:{closed_port}/x"
    server.refusal = JSONResponse({"job_id": "j1", "ws_url": ws_url}, status_code=201)
    with pytest.raises(UnreachableError, match=f"gave up on job j1 .*cannot open {ws_url}: connection refused"):
        await collect(server.url, give_up_after=0.1)


async def test_a_source_that_fails_in_an_outage_raises_once_its_audio_is_delivered(server: ScriptedServer) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield MEETING[:-320]
        raise ValueError("damaged in the middle")

    server.script = one_after_the_other(breaks, goes_on)
    with pytest.raises(ValueError, match="damaged in the middle"):
        await collect(server.url, sound=broken())
    await wait_until(lambda: server.close_code, description="the server sees the client leave")
    assert server.close_code == 1000
    assert server.sound == MEETING[:-320]


async def test_leaving_between_connections_leaves_at_once(server: ScriptedServer) -> None:
    away = asyncio.Event()
    server.script = breaks

    async def run() -> None:
        await collect(server.url, on_reconnect=lambda _: away.set())

    running = asyncio.create_task(run())
    await away.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
