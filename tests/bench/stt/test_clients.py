from __future__ import annotations

import json
from time import monotonic

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from bench.stt.clients import Client, ClientFailed, main, open_client
from bench.timeline import Endpointing
from contract import RATE, WIDTH
from tests.support import wait_until

SECOND = bytes(RATE * WIDTH)


async def connected(server: Server) -> Client:
    host, port = server.sockets[0].getsockname()[:2]
    return await open_client(f"ws://{host}:{port}/", SECOND, Endpointing())


async def test_a_final_counts_from_the_frame_with_the_last_of_the_speech() -> None:
    frames: list[bytes | str] = []

    async def job(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "connection_success", "next_sample": 0}))
        async for frame in socket:
            frames.append(frame)
            if len(frames) == 20:  # speech that ends with sample 4800 = in the frame with index 9
                end = 0.3 + 0.3
                for index in (0, 1, 1):  # told twice: the first time counts
                    final = {"type": "transcript_segment", "index": index, "start": 0.0, "end": end}
                    await socket.send(json.dumps(final))
            if frame == '{"command": "stop"}':
                break

    async with serve(job, "127.0.0.1", 0, compression=None) as server:
        client = await connected(server)
        await client.welcomed
        for number in range(9):
            client.send_frame(number)
        await wait_until(lambda: len(frames) == 9, description="the frames before it have come")
        before = monotonic()
        client.send_frame(9)
        handed = monotonic()
        await wait_until(lambda: len(frames) == 10, description="it has come")
        later = monotonic()
        for number in range(10, 20):
            client.send_frame(number)
        client.stop()
        await client.ended
        after = monotonic()
    assert [len(frame) for frame in frames[:-1]] == [960] * 20
    assert set(client.latencies) == {0, 1}
    assert all(later - handed <= latency <= after - before for latency in client.latencies.values())


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"type": "error", "code": "full", "message": "try later"}, "the server answered .*try later"),
        ({"type": "transcript_segment", "index": 0, "end": 1, "error": "broken"}, "the server answered .*broken"),
    ],
)
async def test_what_the_server_complains_about_is_told(told: dict[str, object], complaint: str) -> None:
    async def job(socket: ServerConnection) -> None:
        await socket.send(json.dumps(told))
        await socket.wait_closed()

    async with serve(job, "127.0.0.1", 0, compression=None) as server:
        client = await connected(server)
        with pytest.raises(ClientFailed, match=complaint):
            await client.ended
        with pytest.raises(ClientFailed, match=complaint):
            await client.welcomed
        client.close()


async def test_a_line_that_breaks_is_told() -> None:
    async def job(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "connection_success", "next_sample": 0}))
        await socket.close(1013, "full")

    async with serve(job, "127.0.0.1", 0, compression=None) as server:
        client = await connected(server)
        await client.welcomed
        with pytest.raises(ClientFailed, match=r"the connection ended: 1013 .*full"):
            await client.ended


def test_a_server_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["clients", "http://127.0.0.1:1", "1", "5", "1"])
    assert main() == 1
    assert "onnect" in capsys.readouterr().err
