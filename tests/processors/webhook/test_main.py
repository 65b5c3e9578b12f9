from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from standardwebhooks import Webhook
from starlette.responses import Response

from bus import Bus, StartError, connect
from bus.dead import redrive
from bus.requests import present
from bus.run import load
from compose.ports import free_port
from contract import Completed, Dead, JobOptions, Message, Opened, Summary, Transcript
from processors.webhook import core
from processors.webhook.__main__ import AT_ONCE, Settings, _tls, main
from tests.processors.webhook.receiver import Receiver, serving
from tests.support import wait_until


def finished(job: str, url: str | None) -> list[Message]:
    """All events of a finished job that matter here."""
    return [
        Opened(job=job, options=JobOptions(webhook_url=url, metadata={"room": "R7"})),
        Transcript(job=job, index=0, start=16_000, end=40_000, text="Good morning.", language="en"),
        Transcript(job=job, index=1, start=48_000, end=64_000, text="", error="out of memory"),
        Summary(job=job, title="Stand-up", summary="All is well.", engine="extractive"),
        Completed(job=job, segments=2, samples=80_000),
    ]


async def publish(bus: Bus, messages: list[Message]) -> None:
    for message in messages:
        await bus.publish(message)


async def dead(bus: Bus, job: str) -> list[str]:
    return [Dead.decode(raw.data).reason for raw in await bus.history("EVENTS", Dead.pattern(job))]


async def settled(bus: Bus) -> bool:
    info = await bus.connection.js.consumer_info("EVENTS", "webhook")
    return (info.num_pending, info.num_ack_pending) == (0, 0)


async def idle(bus: Bus) -> None:
    await wait_until(lambda: settled(bus), description="every job is done")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with serving(Receiver()) as running:
        yield running


Start = Callable[..., Awaitable[None]]


@pytest.fixture
async def start(bus: Bus, nats_url: str) -> AsyncIterator[Start]:
    """Starts a worker with a connection of its own."""
    workers: list[asyncio.Task[None]] = []

    async def work(settings: Settings) -> None:
        async with connect(nats_url) as own:
            await main(own, settings)

    async def start(**settings: Any) -> None:
        worker = asyncio.create_task(work(Settings(**{"allow_private": True, "ports": "*", **settings})))
        workers.append(worker)
        await wait_until(lambda: worker.done() or present(bus, "webhook"), description="the worker is ready")

    yield start
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_finished_job_is_delivered_once(bus: Bus, start: Start, receiver: Receiver) -> None:
    await start()
    events = finished("m1", receiver.url)
    await publish(bus, events)
    await wait_until(lambda: receiver.deliveries, description="the job is delivered")
    await idle(bus)
    (delivery,) = receiver.deliveries
    completed = events[-1]
    assert isinstance(completed, Completed)
    assert delivery.body == core.encode(core.job_completed(JobOptions(metadata={"room": "R7"}), completed, events))
    assert delivery.json["transcript"] == "Good morning."
    assert delivery.json["duration"] == 5.0
    assert delivery.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["user-agent"] == "stenobus"
    assert delivery.headers["idempotency-key"] == "m1"
    assert delivery.headers["webhook-id"] == "job_completed_m1"
    assert not [name for name in delivery.headers if "signature" in name]
    assert await dead(bus, "m1") == []


async def test_a_delivery_is_signed(bus: Bus, start: Start, receiver: Receiver) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105
    await start(secret=secret)
    await publish(bus, finished("m1", receiver.url))
    await wait_until(lambda: receiver.deliveries, description="the job is delivered")
    (delivery,) = receiver.deliveries
    assert Webhook(secret).verify(delivery.body, delivery.headers) == delivery.json


async def test_a_job_without_webhook_url_is_not_delivered(bus: Bus, start: Start, receiver: Receiver) -> None:
    await start()
    await publish(bus, finished("m1", None))
    await publish(bus, finished("m2", None)[1:])  # its `opened` is not on the bus any more
    await publish(bus, finished("m3", receiver.url))
    await wait_until(lambda: receiver.deliveries, description="the third job is delivered")
    await idle(bus)
    assert [delivery.json["job_id"] for delivery in receiver.deliveries] == ["m3"]
    assert await dead(bus, "*") == []


@pytest.mark.parametrize("status", [503, 429])
async def test_a_temporary_refusal_is_tried_again(bus: Bus, start: Start, receiver: Receiver, status: int) -> None:
    receiver.answers = [Response(status_code=status), Response(status_code=status, headers={"Retry-After": "1"})]
    await start()
    await publish(bus, finished("m1", receiver.url))
    await wait_until(lambda: len(receiver.deliveries) == 3, description="the third attempt")
    await idle(bus)
    assert len({delivery.body for delivery in receiver.deliveries}) == 1
    assert {delivery.headers["webhook-id"] for delivery in receiver.deliveries} == {"job_completed_m1"}
    assert await dead(bus, "m1") == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Response(status_code=400), "refused the webhook with 400"),
        (Response(status_code=302, headers={"Location": "/hook"}), "with 302: redirects are not followed"),
    ],
    ids=["400", "302"],
)
async def test_a_refusal_is_final(bus: Bus, start: Start, receiver: Receiver, answer: Response, reason: str) -> None:
    receiver.answers = [answer]
    await start()
    await publish(bus, finished("m1", receiver.url))
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    await idle(bus)
    (found,) = await dead(bus, "m1")
    assert found.endswith(reason)
    assert "hidden" not in found
    assert len(receiver.deliveries) == 1


async def test_a_delivery_that_was_given_up_can_be_tried_again(bus: Bus, start: Start, receiver: Receiver) -> None:
    receiver.answers = [Response(status_code=410)]
    events = finished("m1", receiver.url)
    await publish(bus, events)
    await start()
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    await redrive(bus, "m1", "EVENTS", len(events))

    async def gone() -> bool:
        return not await dead(bus, "m1")

    await wait_until(gone, description="the dead letter is removed")
    first, second = receiver.deliveries
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_private_address_is_not_called(bus: Bus, start: Start, receiver: Receiver) -> None:
    await start(allow_private=False)
    await publish(bus, finished("m1", receiver.url))
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    assert "webhook_url names 127.0.0.1" in (await dead(bus, "m1"))[0]
    assert receiver.deliveries == []


async def test_a_receiver_that_is_away_is_tried_again(bus: Bus, start: Start) -> None:
    away = Receiver(port=free_port())
    await start()
    await publish(bus, finished("m1", away.url))

    async def redelivered() -> bool:
        info = await bus.connection.js.consumer_info("EVENTS", "webhook")
        return bool(info.num_redelivered)

    await wait_until(redelivered, description="the second attempt")
    async with serving(away):
        await wait_until(lambda: away.deliveries, description="the job is delivered")
        await idle(bus)
    assert len(away.deliveries) == 1
    assert await dead(bus, "m1") == []


async def test_a_receiver_that_stays_away_is_given_up(bus: Bus, start: Start) -> None:
    await start(attempts=2)
    url = f"http://127.0.0.1:{free_port()}"
    await publish(bus, finished("m1", url))
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    assert (await dead(bus, "m1"))[0].startswith(f"Undelivered: no answer from {url}: ")


async def test_a_receiver_that_never_answers_is_given_up(bus: Bus, start: Start, receiver: Receiver) -> None:
    receiver.silent = True
    await start(timeout=0.2, attempts=2)
    await publish(bus, finished("m1", receiver.url))
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    assert (await dead(bus, "m1"))[0].endswith(": ReadTimeout")
    assert len(receiver.deliveries) == 2


async def test_a_slow_receiver_does_not_keep_others_waiting(bus: Bus, start: Start, receiver: Receiver) -> None:
    receiver.silent = True
    await start(timeout=60)
    for number in range(AT_ONCE + 20):
        await publish(bus, finished(f"slow{number}", receiver.url))
    await wait_until(lambda: receiver.deliveries, description="the slow receiver has some")
    async with serving(Receiver()) as other:
        await publish(bus, finished("m1", other.url))
        await wait_until(lambda: other.deliveries, description="the other receiver has its job")
    assert len(receiver.deliveries) == 4


async def test_a_receiver_that_answers_too_slowly_is_given_up(bus: Bus, start: Start) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        left = False
        while not left:
            try:
                async with asyncio.timeout(0.02):
                    left = not await reader.read(65_536)
            except TimeoutError:
                writer.write(b"x")
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        await start(timeout=0.1, attempts=1)
        await publish(bus, finished("m1", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    assert (await dead(bus, "m1"))[0].endswith(": TimeoutError")


async def test_the_next_address_is_tried_and_no_proxy_is_used(
    bus: Bus, start: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def two_addresses(host: Any, *args: Any, **options: Any) -> list[Any]:
        hosts = ["127.0.0.2", "127.0.0.1"] if host == "hooks.test" else [host]  # nobody listens on the first
        return [found for address in hosts for found in look_up(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    await start(attempts=1)
    await publish(bus, finished("m1", f"http://hooks.test:{receiver.port}/hook"))
    await wait_until(lambda: receiver.deliveries, description="the job is delivered")
    assert receiver.deliveries[0].headers["host"] == f"hooks.test:{receiver.port}"


async def test_tls_verifies_the_name_and_not_the_address(bus: Bus, start: Start) -> None:
    hellos: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.append(await reader.read(4_096))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        await start(attempts=1)
        port = server.sockets[0].getsockname()[1]
        await publish(bus, finished("m1", f"https://localhost:{port}/hook"))
        await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    assert b"localhost" in hellos[0]
    assert (await dead(bus, "m1"))[0].startswith(f"Undelivered: no answer from https://localhost:{port}: ")


async def test_missing_certificates_only_matter_where_tls_is_used(
    bus: Bus, start: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/proc/none")
    _tls.cache_clear()
    await start(attempts=1)
    await publish(bus, finished("m1", receiver.url))
    await publish(bus, finished("m2", receiver.url.replace("http:", "https:")))
    await wait_until(lambda: receiver.deliveries, description="the job is delivered")
    await wait_until(lambda: dead(bus, "m2"), description="the dead letter")
    (reason,) = await dead(bus, "m2")
    assert reason.startswith("Undelivered: TLS cannot be set up (SSL_CERT_FILE")
    assert reason.endswith("): No such file or directory")


async def test_unreadable_events_do_not_stop_a_delivery(bus: Bus, start: Start, receiver: Receiver) -> None:
    await start()
    await bus.connection.js.publish("events.m1.opened", b"\xc1 garbage")
    await bus.connection.js.publish("events.m2.transcript.1.0", b"\xc1 garbage")
    await bus.connection.js.publish("events.m2.invented", b"of a newer writer")
    await publish(bus, [finished("m1", None)[-1]])
    opened, _unreadable, *rest = finished("m2", receiver.url)
    await publish(bus, [opened, *rest])
    await wait_until(lambda: receiver.deliveries, description="the second job is delivered")
    await wait_until(lambda: dead(bus, "m1"), description="the dead letter")
    (delivery,) = receiver.deliveries
    errors = [segment["error"] for segment in delivery.json["segments"]]
    assert errors[0].startswith("not a Transcript: ")
    assert errors[1] == "out of memory"
    assert "not a Opened" in (await dead(bus, "m1"))[0]


async def test_two_workers_share_the_jobs(bus: Bus, start: Start, receiver: Receiver) -> None:
    await start()
    await start()
    jobs = [f"m{number}" for number in range(20)]
    for job in jobs:
        await publish(bus, finished(job, receiver.url))
    await wait_until(lambda: len(receiver.deliveries) >= 20, description="all jobs are delivered")
    await idle(bus)
    assert sorted(delivery.json["job_id"] for delivery in receiver.deliveries) == sorted(jobs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WEBHOOK_ALLOW_PRIVATE", "perhaps", "WEBHOOK_ALLOW_PRIVATE='perhaps'"),
        ("WEBHOOK_SECRET", "whsec_!", "^WEBHOOK_SECRET: Value error, whsec_ is followed by"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError, match=message):
        load(Settings)
