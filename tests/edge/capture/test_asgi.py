"""The capture socket as a listener: what RFC 6455 asks of it, and clients that send and read as they like."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator

import psutil
import pytest
import websockets
from websockets.frames import Opcode

from bus import Bus
from contract import Closed, Transcript
from contract.audio import decode_audio
from tests.edge.capturing import FRAME, assembled, closed, stored
from tests.edge.conftest import Edge, StartEdge
from tests.edge.process import EdgeProcess, edge_process, serves, spawn
from tests.edge.raw import Raw, closing, frame, raw
from tests.support import wait_until

STOP = json.dumps({"command": "stop"}).encode()
FINALIZE = json.dumps({"command": "finalize"}).encode()


@pytest.fixture
async def served(nats_url: str, redis_url: str) -> AsyncIterator[EdgeProcess]:
    async with edge_process(nats_url, redis_url) as edge:
        yield edge


def binary(data: bytes) -> bytes:
    return frame(Opcode.BINARY, data)


async def test_messages_may_come_in_pieces_with_pings_between(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    url = f"{edge.sockets}/ws/{job}"
    async with raw(url) as client:
        client.send(
            frame(Opcode.BINARY, FRAME[:100], fin=False),
            frame(Opcode.PING, b"one"),
            frame(Opcode.CONT, FRAME[100:101], fin=False),
            frame(Opcode.CONT, b"", fin=False),
            frame(Opcode.CONT, FRAME[101:]),
            binary(FRAME),
            frame(Opcode.TEXT, STOP[:5], fin=False),
        )
        assert await client.until(Opcode.PONG) == b"one"
        client.send(frame(Opcode.PONG, b"nobody asked"), frame(Opcode.CONT, STOP[5:]))
        assert (await closed(worker, job)).samples == 960
        assert await stored(worker, job) == FRAME * 2


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(Opcode.BINARY, FRAME, fin=False), binary(FRAME)], 1002),
        ([frame(Opcode.BINARY, FRAME, fin=False), frame(Opcode.TEXT, b"{}")], 1002),
        ([frame(Opcode.CONT, FRAME)], 1002),
        ([frame(Opcode.BINARY, FRAME, rsv1=True)], 1002),
        ([frame(Opcode.BINARY, FRAME, mask=False)], 1002),
        ([b"\x83\x80\0\0\0\0"], 1002),
        ([frame(Opcode.TEXT, b"\xff\xfe")], 1007),
        ([frame(Opcode.TEXT, "é".encode()[:1], fin=False), frame(Opcode.CONT, b"x")], 1007),
        ([frame(Opcode.BINARY, b"\0" * 1_048_577)], 1009),
        ([frame(Opcode.BINARY, b"\0" * 1_000_000, fin=False), frame(Opcode.CONT, b"\0" * 48_577)], 1009),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection_and_keeps_what_came_before(
    edge: Edge, worker: Bus, frames: list[bytes], code: int
) -> None:
    job = await edge.create()
    url = f"{edge.sockets}/ws/{job}"
    async with raw(url) as client:
        await client.until_message("connection_success")
        client.send(binary(FRAME), *frames)
        assert struct.unpack("!H", (await client.until(Opcode.CLOSE))[:2]) == (code,)
    async with raw(url) as client:  # as after any broken line, the job waits for it
        assert (await client.until_message("connection_success"))["next_sample"] == 480
        client.send(closing(1000))
    assert (await closed(worker, job)).samples == 480


async def test_frames_that_come_at_once_wait_for_the_job(served: EdgeProcess, worker: Bus) -> None:
    job, url = await served.create()
    at_once = binary(FRAME) * 40 + frame(Opcode.TEXT, FINALIZE) + binary(FRAME) * 40 + frame(Opcode.TEXT, STOP)
    async with raw(url) as client:
        client.send(at_once)
        assert (await client.until_message("connection_success"))["next_sample"] == 0
        end = await closed(worker, job)
        assert (end.samples, end.reason) == (80 * 480, "stop")
    frames = [decode_audio(message.data) for message in await worker.history("AUDIO", f"audio.{job}")]
    assert [found.start for found in frames if found.cut] == [40 * 480]
    assert await assembled(worker, job) == (FRAME * 80, True)


async def test_what_was_read_before_the_window_was_full_stays_in_order(served: EdgeProcess, worker: Bus) -> None:
    """In one piece: more than may be on its way, while nothing can be stored."""
    job, url = await served.create()
    config = (await worker.connection.js.stream_info("AUDIO")).config
    sound = [struct.pack("<H", number) * 480 for number in range(400)]
    async with raw(url) as client:
        await client.until_message("connection_success")
        await worker.connection.js.update_stream(config.evolve(max_bytes=10_000))
        client.send(*map(binary, sound[:250]), frame(Opcode.TEXT, FINALIZE), *map(binary, sound[250:]))
        client.send(frame(Opcode.TEXT, b"{"), frame(Opcode.TEXT, STOP))
        await client.until_message("status")
        assert len(await stored(worker, job)) < 10_000
        await worker.connection.js.update_stream(config.evolve(max_bytes=-1))
        assert (await client.until_message("error"))["code"] == "not_json"
        end = await closed(worker, job)
        assert (end.samples, end.reason) == (400 * 480, "stop")
    assert await assembled(worker, job) == (b"".join(sound), True)
    frames = [decode_audio(message.data) for message in await worker.history("AUDIO", f"audio.{job}")]
    assert {found.start for found in frames if found.cut} == {250 * 480}


@pytest.mark.parametrize(
    ("code", "answered", "reason"),
    [
        (1000, 1000, "disconnect"),
        (1001, 1001, "disconnect"),
        (4321, 4321, None),
        (None, 1005, None),
        (1006, 1002, None),
        (999, 1002, None),
    ],
)
async def test_the_closing_handshake_of_a_client_is_answered(
    edge: Edge, worker: Bus, code: int | None, answered: int, reason: str | None
) -> None:
    job = await edge.create()
    url = f"{edge.sockets}/ws/{job}"
    async with raw(url) as client:
        await client.until_message("connection_success")
        client.send(binary(FRAME), frame(Opcode.CLOSE) if code is None else closing(code))
        assert await client.closed(answer=False) == answered
    if reason:
        assert (await closed(worker, job)).reason == reason
    else:
        async with raw(url) as back:
            assert (await back.until_message("connection_success"))["next_sample"] == 480
            assert await worker.last_raw(Closed.pattern(job)) is None


async def test_a_client_whose_connection_the_server_ends_sees_why_and_the_end(edge: Edge) -> None:
    async with raw(f"{edge.sockets}/ws/nobody") as client:
        client.send(binary(FRAME) * 20)
        assert await client.closed() == 4004
        assert client.received == [
            {"type": "error", "code": "unknown_job", "message": "no job 'nobody': create one first"}
        ]


async def test_compression_is_not_agreed_on(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    url = f"{edge.sockets}/ws/{job}"
    async with websockets.connect(url, compression="deflate", proxy=None) as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        await client.send(FRAME)
        await client.send(STOP.decode())
        assert (await closed(worker, job)).samples == 480


def stop_reading(client: Raw) -> None:
    """Leave what the server sends unread."""
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]


@pytest.mark.parametrize("ends", ["taken over", "violation"])
async def test_a_client_that_does_not_read_why_its_connection_ends_is_disconnected(
    start_edge: StartEdge, worker: Bus, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr("edge.capture.delivery._CLOSE_WITHIN", 0.2)
    monkeypatch.setattr("edge.capture.protocol.CLOSE_WITHIN", 0.2)
    async with start_edge(resume_window=0) as edge:
        job = await edge.create()
        url = f"{edge.sockets}/ws/{job}"
        async with raw(url) as unread:
            await unread.until_message("connection_success")
            stop_reading(unread)
            for index in range(100):
                await worker.create(Transcript(job=job, index=index, start=0, end=1, text="x" * 100_000))
            port = unread.writer.get_extra_info("sockname")[1]
            unread.send(binary(FRAME))
            if ends == "violation":
                unread.send(frame(Opcode.BINARY, FRAME, mask=False))
                await wait_until(lambda: port not in peers(edge), description="the connection is gone")
            else:
                await wait_until(lambda: stored(worker, job), description="the frame is stored")
                async with raw(url) as other:
                    await other.until_message("connection_success")
                    await wait_until(lambda: port not in peers(edge), description="the connection is gone")
                    other.send(frame(Opcode.TEXT, STOP))
                    await closed(worker, job)
            assert (await closed(worker, job)).samples == 480


def peers(edge: Edge) -> set[int]:
    """The ports of the clients that this process has connections of."""
    port = int(edge.sockets.rsplit(":", 1)[1])
    found = psutil.Process().net_connections("tcp")
    return {one.raddr.port for one in found if one.laddr.port == port and one.raddr}


async def test_a_process_that_stops_says_so_to_its_clients_and_ends_in_time(served: EdgeProcess, worker: Bus) -> None:
    urls = [(await served.create())[1] for _ in range(3)]
    async with raw(urls[0]) as polite, raw(urls[1]) as mute, raw(urls[2]) as unread:
        for client in (polite, mute, unread):
            await client.until_message("connection_success")
        stop_reading(unread)
        for index in range(100):
            job = urls[2].rsplit("/", 1)[1]
            await worker.create(Transcript(job=job, index=index, start=0, end=1, text="x" * 100_000))
        served.process.terminate()
        assert int.from_bytes((await polite.until(Opcode.CLOSE))[:2]) == 1012
        async with asyncio.timeout(60):
            assert await served.process.wait() == 0


async def test_two_processes_share_the_port_and_both_get_connections(
    nats_url: str, redis_url: str, worker: Bus
) -> None:
    async with edge_process(nats_url, redis_url, EDGE_REUSE_PORT="1") as first:
        port = first.url.rsplit(":", 1)[1]
        async with edge_process(nats_url, redis_url, EDGE_REUSE_PORT="1", EDGE_PORT=port) as second:

            def connections(edge: EdgeProcess) -> int:
                found = psutil.Process(edge.process.pid).net_connections("tcp")
                return sum(one.laddr.port == int(port) and one.status == psutil.CONN_ESTABLISHED for one in found)

            await wait_until(lambda: listening(second, int(port)), description="the second one listens, too")
            await wait_until(lambda: all_serve(first.url), description="both have what a capture needs")
            jobs = [await first.create() for _ in range(30)]
            clients = [raw(url) for _, url in jobs]
            for client in clients:
                connected = await client.__aenter__()
                connected.send(binary(FRAME), frame(Opcode.TEXT, STOP))
                await connected.until_message("connection_success")
            counts = connections(first), connections(second)
            assert sum(counts) == 30
            assert min(counts) > 0
            for job, _ in jobs:
                assert (await closed(worker, job)).samples == 480
            for client in clients:
                await client.__aexit__(None, None, None)
        alone = await spawn(nats_url, redis_url, LOG_LEVEL="ERROR", EDGE_PORT=port)
        _, err = await alone.communicate()
        assert alone.returncode == 2, "a port is only shared by those who say so"
        assert b"Address already in use" in err
        assert await serves(first.url)


def listening(edge: EdgeProcess, port: int) -> bool:
    found = psutil.Process(edge.process.pid).net_connections("tcp")
    return any(one.laddr.port == port and one.status == psutil.CONN_LISTEN for one in found)


async def all_serve(url: str) -> bool:
    """Whether whoever answers there serves: so many connections do not all come to the same process."""
    return all([await serves(url) for _ in range(20)])
