"""The fast client against real servers: with and without passwords, over TLS, killed and started again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trustme

from bus import Bus, connect
from bus.fast_client import FLUSH, FastClient
from compose.servers import Server, nats_server
from tests.support import wait_until

Received = list[tuple[bytes, bytes, bytes]]


@asynccontextmanager
async def secured(folder: Path, url: str, *args: str) -> AsyncIterator[Bus]:
    """A bus on a server with further arguments; `url` has PORT in place of its port."""
    server = nats_server(folder / "nats")
    server = replace(server, argv=[*server.argv, *args])
    await server.start()
    try:
        async with connect(url.replace("PORT", str(server.port))) as bus:
            yield bus
    finally:
        await server.kill()


async def echoes(bus: Bus) -> None:
    """Check that a published message reaches its subscriber."""
    received: Received = []
    async with FastClient(bus.connection) as client:
        client.subscribe("here.*", lambda *message: received.append(message))
        await client.flushed()
        await bus.connection.nc.publish("here.a", b"sound")
        await wait_until(lambda: received, description="the message")
    assert received == [(b"here.a", b"", b"sound")]


@pytest.mark.parametrize("read_delay", [0.0, 0.005])
async def test_messages_of_every_size_arrive_whole_and_in_order(bus: Bus, read_delay: float) -> None:
    chance = random.Random(5)  # noqa: S311
    payloads = [chance.randbytes(chance.choice([0, 1, 960, 60_000])) for _ in range(300)]
    received: Received = []
    async with FastClient(bus.connection) as client:
        client.read_delay = read_delay
        client.subscribe("here", lambda *message: received.append(message))
        await client.flushed()
        for number, payload in enumerate(payloads):
            headers = {"Number": str(number)} if number % 3 == 0 else None
            await bus.connection.nc.publish("here", payload, headers=headers)
        await wait_until(lambda: len(received) == len(payloads), description="all of them")
    assert [payload for _, _, payload in received] == payloads
    for number, (subject, lines, _) in enumerate(received):
        assert subject == b"here"
        assert lines == (b"NATS/1.0\r\nNumber: %d\r\n\r\n" % number if number % 3 == 0 else b"")


async def test_a_published_message_has_its_reply_subject(bus: Bus) -> None:
    async with FastClient(bus.connection) as client, connect(bus.connection.url) as other:
        subscription = await other.connection.nc.subscribe("there")
        await other.connection.flushed()
        for payload in (b"", b"\r\nPING\r\n", bytes(60_000)):
            client.send(b"PUB there back.1 %d\r\n%b\r\n" % (len(payload), payload))
            message = await subscription.next_msg(20)
            assert (message.data, message.reply) == (payload, "back.1")


async def test_once_flushed_the_server_knows_what_was_subscribed(bus: Bus) -> None:
    async with FastClient(bus.connection) as client:
        for number in range(200):  # a flush that overtakes the subscription shows once in forty times
            subscription = await bus.connection.nc.subscribe(f"there.{number}")
            await bus.connection.flushed()
            client.publish(f"there.{number}", b"")
            await client.flushed()
            await subscription.next_msg(5)


async def test_the_answer_without_responders_has_no_payload(bus: Bus) -> None:
    received: Received = []
    async with FastClient(bus.connection) as client:
        inbox = client.new_inbox()
        client.subscribe(f"{inbox}.*", lambda *message: received.append(message))
        client.send(f"PUB nobody.listens {inbox}.1 1\r\n?\r\n".encode())
        await wait_until(lambda: received, description="the answer")
    ((_, headers, payload),) = received
    assert headers.startswith(b"NATS/1.0 503")
    assert payload == b""


async def test_an_ended_subscription_gets_no_messages(bus: Bus) -> None:
    received: Received = []
    async with FastClient(bus.connection) as client:
        sid = client.subscribe("here", lambda *message: received.append(message))
        client.subscribe("end", lambda *message: received.append(message))
        client.unsubscribe(sid)
        await client.flushed()
        await bus.connection.nc.publish("here", b"1")
        await bus.connection.nc.publish("end", b"2")
        await wait_until(lambda: received, description="the second message")
    assert [payload for _, _, payload in received] == [b"2"]


async def test_many_messages_are_written_together(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.fast_client.FLUSH", 60)
    async with FastClient(bus.connection) as client, connect(bus.connection.url) as other:
        subscription = await other.connection.nc.subscribe("there")
        await other.connection.flushed()
        for _ in range(3):
            client.publish("there", b"first")  # after a quiet time: at once
        for _ in range(3):
            assert (await subscription.next_msg(5)).data == b"first"
        client.publish("there", b"later")
        with pytest.raises(TimeoutError):
            await subscription.next_msg(20 * FLUSH)
        await client.flushed()  # does not wait for its turn
        assert (await subscription.next_msg(5)).data == b"later"


async def test_it_reconnects_after_a_crash_of_the_server(nats_server: Server) -> None:
    received: Received = []
    back = asyncio.Event()
    async with connect(nats_server.url) as bus, FastClient(bus.connection) as client:
        client.subscribe("here", lambda *message: received.append(message))
        client.reconnected.add(back.set)
        for _ in range(2):
            await nats_server.kill()
            await wait_until(lambda: not client.ready, description="the loss is noticed")
            client.publish("here", b"into nothing")
            back.clear()
            await nats_server.start()
            async with asyncio.timeout(60):
                await back.wait()
            received.clear()
            await client.flushed()
            client.publish("elsewhere", b"")
            await bus.connection.flushed()
            await bus.connection.nc.publish("here", b"again")
            await wait_until(lambda: received, description="the subscription is there again")
            assert [payload for _, _, payload in received] == [b"again"]


async def test_a_server_that_hangs_is_noticed(nats_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.fast_client._PING_EVERY", 0.3)
    async with connect(nats_server.url) as bus, FastClient(bus.connection) as client:
        assert nats_server.child
        process = nats_server.child.pid
        psutil.Process(process).suspend()
        try:
            await wait_until(lambda: not client.ready, description="the connection is given up")
        finally:
            psutil.Process(process).resume()
        await wait_until(lambda: client.ready, description="the connection is back")


async def test_it_authenticates_with_the_name_and_password_of_the_address(tmp_path: Path) -> None:
    async with secured(tmp_path, "nats://ana:secret@127.0.0.1:PORT", "--user", "ana", "--pass", "secret") as bus:
        await echoes(bus)


async def test_it_authenticates_with_the_token_of_the_address(tmp_path: Path) -> None:
    async with secured(tmp_path, "nats://t0ken@127.0.0.1:PORT", "--auth", "t0ken") as bus:
        await echoes(bus)


async def test_it_uses_tls_if_the_server_requires_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    files = ("--tlscert", str(tmp_path / "server.pem"), "--tlskey", str(tmp_path / "server.pem"))
    async with secured(tmp_path, "tls://localhost:PORT", "--tls", *files) as bus:
        await echoes(bus)


async def test_a_failure_while_reconnecting_ends_the_client(bus: Bus) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def lose_the_connection() -> None:
        async with FastClient(bus.connection) as client:
            client.reconnected.add(fail)
            assert client._connection is not None
            client._connection.close()
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await lose_the_connection()
