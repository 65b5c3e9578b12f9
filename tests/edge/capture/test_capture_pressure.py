"""Audio that cannot be stored as fast as it comes, and clients that do not read."""

from __future__ import annotations

import asyncio
import random
import socket

import httpx
import pytest

from bus import Bus
from compose.servers import Server
from tests.edge.capturing import FRAME, assembled, closed, final, stored
from tests.edge.conftest import Edge, client, running_edge
from tests.support import wait_until


async def test_a_stream_that_refuses_audio_makes_the_client_wait_and_loses_nothing(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    noise = random.Random(1).randbytes(32_000)  # noqa: S311
    config = (await worker.connection.js.stream_info("AUDIO")).config
    await worker.connection.js.update_stream(config.evolve(max_bytes=200_000))
    async with client(edge, job) as meeting:

        async def send() -> None:
            for _ in range(400):  # 12.8 MB: more than sockets and windows hold
                await meeting.socket.send(noise)
            await meeting.command("stop")

        sending = asyncio.create_task(send())
        await wait_until(lambda: meeting.of("ack") and meeting.of("status"), description="the first ack and status")
        assert len(await stored(worker, job)) < 200_000
        assert not sending.done()
        await worker.connection.js.update_stream(config.evolve(max_bytes=-1))
        await sending
        end = await closed(worker, job)
        assert end.samples == 400 * 16_000


async def test_while_audio_cannot_be_stored_lag_grows_and_new_meetings_are_refused_with_a_reason(
    edge: Edge, worker: Bus
) -> None:
    job, other = await edge.create(), await edge.create()
    config = (await worker.connection.js.stream_info("AUDIO")).config
    await worker.connection.js.update_stream(config.evolve(max_bytes=20_000))
    async with client(edge, job) as meeting:
        for _ in range(30):
            await meeting.socket.send(FRAME)

        async def create() -> httpx.Response:
            async with httpx.AsyncClient(base_url=edge.url) as http:
                return await http.post("/api/v1/stream/create")

        async def refused() -> bool:
            return (await create()).status_code == 503

        await wait_until(refused, description="new jobs are refused")
        assert meeting.of("status")[-1]["lag"] > 0
        response = await create()
        assert response.json()["detail"] == "audio cannot be stored at present: maximum bytes exceeded"
        assert response.headers["retry-after"] == "2"
        await wait_until(
            lambda: meeting.of("status")[-1].get("trouble") == response.json()["detail"],
            description="the client is told why its audio waits",
        )
        async with client(edge, other) as late:
            assert await late.closed() == 1013
            assert late.of("error")[0]["retry_after"] == 2
        await worker.connection.js.update_stream(config.evolve(max_bytes=-1))
        await wait_until(
            lambda: meeting.of("ack") and meeting.of("ack")[-1]["samples"] == 14_400, description="all acks"
        )
        assert (await create()).status_code == 201
        await wait_until(lambda: "trouble" not in meeting.of("status")[-1], description="the client is told it is over")


async def test_a_crash_of_the_bus_in_mid_meeting_loses_nothing(
    nats_server: Server, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    noise = random.Random(2)  # noqa: S311
    frames = [noise.randbytes(960) for _ in range(200)]
    async with running_edge(nats_server.url) as edge:
        job = await edge.create()
        async with client(edge, job) as meeting:
            for frame in frames[:100]:
                await meeting.socket.send(frame)
            await meeting.until("ack")
            await nats_server.kill()
            for frame in frames[100:]:
                await meeting.socket.send(frame)
            await nats_server.start()
            await meeting.command("stop")
            end = await closed(edge.bus, job)
            assert end.samples == 200 * 480
            assert await assembled(edge.bus, job) == (b"".join(frames), True)


async def test_a_client_that_does_not_read_holds_up_only_itself(edge: Edge, worker: Bus) -> None:
    deaf, hearing = await edge.create(), await edge.create()
    async with edge.socket(deaf) as quiet, client(edge, hearing) as meeting:
        quiet.transport.pause_reading()
        quiet.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for index in range(200):
            await worker.create(final(deaf, index, "x" * 20_000))
        await meeting.socket.send(FRAME)
        await worker.create(final(hearing, 0, "Hello."))
        assert (await meeting.until("transcript_segment"))["text"] == "Hello."
        quiet.transport.abort()
    assert (await closed(worker, deaf)).reason == "disconnect"
