"""What goes past picows: whatever a client sends, and however it is cut up, the same is heard."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from edge.capture.connection import Gone, Inlet, Said
from edge.capture.frames import whole_frames
from edge.capture.listener import listening
from tests.edge.capture.test_shortcut import Sent, run, said
from tests.edge.raw import Raw, closing, frame, raw
from tests.support import wait_until


@asynccontextmanager
async def heard(at_once: bytes = b"") -> AsyncIterator[tuple[Raw, list[Said]]]:
    """A client of the listener, and what a capture hears of it."""
    found: list[Said] = []

    async def serve(_connection: object, inlet: Inlet, *_: object) -> None:
        inlet.open(lambda said: found.extend(said if isinstance(said, list) else [said]))
        await inlet.gone.wait()

    services: Any = SimpleNamespace(bus=SimpleNamespace(stopping=asyncio.Event()))
    with socket.create_server(("127.0.0.1", 0)) as sock, patch("edge.capture.listener.serve", serve):
        async with (
            listening(services, sock),
            raw(f"ws://127.0.0.1:{sock.getsockname()[1]}/ws/a", at_once=at_once) as client,
        ):
            yield client, found


@settings(max_examples=60, deadline=None)
@given(st.lists(said, max_size=8), st.lists(st.integers(1, 2_000), min_size=1, max_size=12), st.booleans())
def test_the_same_is_heard_however_it_is_cut(messages: list[Sent], cuts: list[int], early: bool) -> None:
    stream = b"".join(sent for sent, _ in messages)
    wanted = [one for _, heard in messages for one in heard]

    async def test() -> None:
        at = cuts[0] if early else 0
        async with heard(stream[:at]) as (client, found):
            turn = 1
            while at < len(stream):
                size = cuts[turn % len(cuts)] if turn < 40 else 20_000
                client.send(stream[at : at + size])
                await asyncio.sleep(0.001)  # so that it comes apart
                at, turn = at + size, turn + 1
            client.send(closing(1000))
            await wait_until(lambda: found and isinstance(found[-1], Gone), description="the client is gone")
            assert found == [*wanted, Gone(1000)]

    run(test())


@pytest.mark.parametrize(
    "wrong",
    [frame(Opcode.BINARY, b"ab", mask=False), frame(Opcode.BINARY, b"ab", rsv1=True), frame(Opcode.CONT, b"ab")],
    ids=["not masked", "a reserved bit", "a continuation of nothing"],
)
async def test_nothing_is_heard_behind_what_is_wrong(wrong: bytes) -> None:
    right = frame(Opcode.BINARY, b"right")
    async with heard() as (client, found):
        for _ in range(3):
            client.send(right)
            await wait_until(lambda: found, description="what is right is heard")
        client.send(right, wrong, right)
        assert await client.closed() == 1002
        assert found == [b"right"] * 4 + [Gone(1002)] or found == [b"right"] * 4 + [Gone(1006)]


def test_only_whole_masked_binary_messages_are_taken() -> None:
    long = bytes(65_535)
    begin = frame(Opcode.BINARY, b"") + frame(Opcode.BINARY, b"\x01" * 125) + frame(Opcode.BINARY, long)
    rests = [
        b"",
        b"\x82",
        frame(Opcode.BINARY, b"abc")[:-1],
        frame(Opcode.BINARY, b"abc", fin=False),
        frame(Opcode.BINARY, b"abc", mask=False) + bytes(8),
        frame(Opcode.BINARY, bytes(65_536)),
        frame(Opcode.TEXT, b"abc"),
        frame(Opcode.PING, b"abc"),
    ]
    for rest in rests:
        # An empty message is too short to be told from the head of a longer one, and goes the usual way.
        assert whole_frames(begin[6:] + rest) == ([b"\x01" * 125, long], len(begin) - 6)
    assert whole_frames(frame(Opcode.BINARY, b"")) == ([], 0)
