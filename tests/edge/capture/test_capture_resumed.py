"""A job goes from one connection to another, and from one edge to another."""

from __future__ import annotations

import os
import random
import re
import signal

from bus import Bus
from compose.servers import Server
from contract import Closed
from tests.edge.capturing import FRAME, assembled, closed, final, stored
from tests.edge.conftest import Client, Edge, StartEdge, client
from tests.support import wait_until


async def test_a_newer_connection_takes_over_from_an_older_one(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as first:
        await first.socket.send(FRAME)
        await wait_until(lambda: stored(worker, job), description="the frame is stored")
        async with client(edge, job) as second:
            assert await first.closed() == 4010
            assert first.of("error")[-1]["code"] == "taken_over"
            assert (await second.until("connection_success"))["next_sample"] == 480
            await second.socket.send(FRAME)
            await second.command("stop")
            assert (await closed(worker, job)).samples == 960


async def test_a_client_resumes_at_another_edge_and_nothing_is_lost_or_doubled(
    edge: Edge, start_edge: StartEdge, worker: Bus
) -> None:
    noise = random.Random(3)  # noqa: S311
    frames = [noise.randbytes(960) for _ in range(90)]
    job = await edge.create()
    async with start_edge() as other:
        acked = 0
        for number, where in enumerate((edge, other, edge)):
            async with client(where, job, query=f"?sample={acked}") as meeting:
                at = (await meeting.until("connection_success"))["next_sample"] // 480
                assert at * 480 >= acked
                for frame in frames[at : 30 * (number + 1)]:
                    await meeting.socket.send(frame)
                acked = (await meeting.until("ack"))["samples"]
                if number < 2:
                    meeting.socket.transport.abort()
                else:
                    await meeting.command("stop")
                    end = await closed(worker, job)
                    assert (end.samples, end.reason) == (90 * 480, "stop")
    assert await assembled(worker, job) == (b"".join(frames), True)


async def test_a_gap_is_refused_with_the_sample_that_is_expected(edge: Edge, worker: Bus) -> None:
    job = await edge.create(sample_rate=48_000)
    async with client(edge, job) as meeting:
        await meeting.socket.send(b"\0" * 96_000)
        await meeting.until("ack")
        meeting.socket.transport.abort()
    async with client(edge, job, query="?sample=100000") as late:
        assert await late.closed() == 1008
        (error,) = late.of("error")
        assert error["code"] == "gap"
        expected = int(re.findall(r"sample (\d+) is expected next", error["message"])[0])
        assert 0 < expected <= 48_000
    async with client(edge, job, query=f"?sample={expected}") as back:
        assert (await back.until("connection_success"))["next_sample"] == expected
        await back.command("stop")
        await closed(worker, job)


async def test_a_connection_with_a_gap_takes_nothing_from_a_live_one(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as live:
        await live.socket.send(FRAME)
        await live.until("ack")
        async with client(edge, job, query="?sample=100000") as late:
            assert await late.closed() == 1008
        await live.command("stop")
        assert (await closed(worker, job)).samples == 480


async def test_after_a_resume_all_finals_are_sent_again(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    async with client(edge, job) as meeting:
        await worker.create(final(job, 0, "Hello."))
        await meeting.until("transcript_segment")
        meeting.socket.transport.abort()
    async with client(edge, job) as back:
        assert (await back.until("transcript_segment"))["text"] == "Hello."


async def test_a_stopping_edge_leaves_its_jobs_open_for_another(edge: Edge, start_edge: StartEdge, worker: Bus) -> None:
    job = await edge.create()
    async with start_edge() as stopping, stopping.socket(job) as connection:
        meeting = Client(connection)
        for _ in range(10):
            await meeting.socket.send(FRAME)
        await meeting.until("ack")
        stopping.bus.stopping.set()
        assert await meeting.closed() == 1012
    assert await worker.last_raw(Closed.pattern(job)) is None
    async with client(edge, job) as back:
        assert (await back.until("connection_success"))["next_sample"] == 4_800
        await back.command("stop")
        assert (await closed(worker, job)).samples == 4_800


async def test_a_connection_whose_client_has_left_takes_nothing_from_a_live_one(
    edge: Edge, start_edge: StartEdge, redis_server: Server
) -> None:
    """A client gave a connection up while the edge was held up, and has another one by the time it goes on."""
    job = await edge.create()
    async with start_edge() as other, client(other, job) as live:
        await live.until("connection_success")
        assert redis_server.child
        os.kill(redis_server.child.pid, signal.SIGSTOP)  # the edge waits for the store
        try:
            left = await edge.socket(job).__aenter__()
            left.transport.abort()
            await live.socket.send(FRAME)
            await live.until("ack")
        finally:
            os.kill(redis_server.child.pid, signal.SIGCONT)
        await edge.create()  # the store answers again, and what had waited for it has gone on
        for _ in range(30):
            await live.socket.send(FRAME)
        await wait_until(lambda: live.of("ack")[-1]["samples"] == 31 * 480, description="the live connection goes on")
        assert not live.of("error")


async def test_a_stopping_edge_leaves_a_job_open_whose_client_it_waits_for(
    edge: Edge, start_edge: StartEdge, worker: Bus
) -> None:
    job = await edge.create()
    async with start_edge(resume_window=60) as stopping, client(stopping, job) as meeting:
        await meeting.socket.send(FRAME)
        await meeting.until("ack")
        meeting.socket.transport.abort()
    assert await worker.last_raw(Closed.pattern(job)) is None
    async with client(edge, job) as back:
        assert (await back.until("connection_success"))["next_sample"] == 480
        await back.command("stop")
        assert (await closed(worker, job)).samples == 480
