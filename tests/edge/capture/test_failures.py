"""A failure that nobody foresaw ends its connection, which says so; a failure of what all share ends the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from bus import Bus
from bus.connection import Connection
from compose.ports import free_port
from contract import Partial
from edge.__main__ import main
from edge.services import Settings
from tests.edge.capturing import FRAME, final
from tests.edge.conftest import Edge, client
from tests.support import wait_until


class Bug(Exception):
    pass


def fail(*_arguments: Any, **_options: Any) -> NoReturn:
    raise Bug


async def fail_later(*_arguments: Any) -> NoReturn:
    raise Bug


@pytest.mark.parametrize(
    "broken",
    [
        "edge.capture.session.Session.check_audio",
        "edge.capture.session.Session.command",
        "edge.capture.session.Session.on_event",
        "edge.capture.session.Session.ack",
        "edge.capture.session.InterimResults.update",
        "edge.capture.session.InterimResults.next",
        "edge.capture.capture.check_claim",
        "edge.capture.delivery.Delivery.send_events",
        "bus.publisher.AudioTrack.cut",
    ],
)
async def test_a_bug_ends_the_connection_with_1011_and_a_traceback_and_the_client_can_come_back(
    edge: Edge, worker: Bus, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = await edge.create()
    with monkeypatch.context() as patched:
        patched.setattr(broken, fail)
        async with client(edge, job) as meeting:
            await meeting.socket.send(FRAME)
            await meeting.command("finalize")
            await worker.create(final(job, 0, "Hello."))

            async def closed() -> bool:
                if broken.endswith("check_claim"):  # which is made after the bus was away
                    for reconnected in list(edge.bus.connection.reconnected):
                        reconnected()
                await worker.publish(Partial(job=job, index=1, start=0, end=1, text="So"))
                return meeting.socket.close_code is not None

            await wait_until(closed, description="the connection ends")
            assert await meeting.closed() == 1011
            assert [error["code"] for error in meeting.of("error")] == ["internal"]
    failed = [record for record in caplog.records if record.message == "capture failed"]
    assert [record.levelno for record in failed] == [logging.ERROR]
    assert failed[0].exc_info is not None
    assert failed[0].exc_info[0] is Bug
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        await meeting.socket.send(FRAME)
        assert (await meeting.until("ack"))["samples"] >= 480


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        ("edge.capture.pacing.Ticker.run", fail_later),
        ("edge.capture.pacing.ReadCoalescing._adjust", fail),
        ("edge.capture.ownership.OwnershipRegistry.running", fail),
        ("store.erasures.Erasures.claim_due", fail),
    ],
)
async def test_a_bug_in_what_all_captures_share_ends_the_process(
    nats_url: str, redis_url: str, broken: str, failing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    monkeypatch.setattr("edge.rest.erasure.POLL_INTERVAL", 0.01)
    monkeypatch.setattr(broken, failing)
    bus = Bus(Connection(nats_url, name="edge"))
    await bus.connection.connect()
    try:
        async with asyncio.timeout(20):
            with pytest.raises(Bug):
                await main(bus, Settings(port=free_port("127.0.0.1")))
    finally:
        await bus.connection.close()


async def test_a_state_that_cannot_be_written_is_logged_and_captures_go_on(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("store.jobs.JobStore.advance", fail)
    async with client(edge, await edge.create()) as meeting:
        await meeting.until("connection_success")
        await wait_until(
            lambda: [record for record in caplog.records if record.message == "state not written"],
            description="the failure is logged",
        )
        await meeting.socket.send(FRAME)
        assert (await meeting.until("ack"))["samples"] == 480
