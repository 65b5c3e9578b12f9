"""The fast path and the limits of a WebSocket: the same messages arrive however they are divided."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from edge.capture.protocol import FAST_PATH, MAX_FRAGMENTS, CaptureProtocol, whole_frames
from tests.support import wait_until

Message = dict[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

KEY = base64.b64encode(bytes(16)).decode()
REQUEST = (
    f"GET /x HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


class Socket(asyncio.Transport):
    """What the protocol writes, and whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading, self.closed, self.aborted = True, False, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


class Application:
    """Takes the fast path; `late`: only when `go` is set."""

    def __init__(self, *, late: bool = False) -> None:
        self.received: list[bytes | str] = []
        self.protocol: CaptureProtocol
        self.go = asyncio.Event()
        self.code: int | None = None
        if not late:
            self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.protocol = scope["extensions"][FAST_PATH]
        await self.go.wait()
        self.protocol.attach(lambda got: self.received.extend(got if isinstance(got, list) else [got]))
        message = await receive()
        assert message["type"] == "websocket.disconnect"
        self.code = message["code"]


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """An application that knows nothing of it: it sends everything back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def connected(app: App) -> tuple[CaptureProtocol, Socket]:
    config = uvicorn.Config(
        app, ws=CaptureProtocol, ws_per_message_deflate=False, ws_ping_interval=None, log_config=None
    )
    config.load()
    socket = Socket()
    protocol = CaptureProtocol(config, ServerState(), {})
    protocol.connection_made(socket)
    protocol.data_received(REQUEST)
    await turns()
    assert socket.written.startswith(b"HTTP/1.1 101")
    return protocol, socket


async def turns() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def over(protocol: CaptureProtocol) -> None:
    protocol.connection_lost(None)
    await turns()


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


Sent = tuple[bytes, list[bytes | str]]


def whole(data: bytes | str) -> Sent:
    opcode, raw = (Opcode.TEXT, data.encode()) if isinstance(data, str) else (Opcode.BINARY, data)
    return frame(opcode, raw), [data]


def in_parts(parts: list[bytes], ping: bool) -> Sent:
    sent = bytearray()
    for number, part in enumerate(parts):
        opcode = Opcode.CONT if number else Opcode.BINARY
        sent += frame(opcode, part, fin=number == len(parts) - 1)
        if ping:
            sent += frame(Opcode.PING, b"?")
    return bytes(sent), [b"".join(parts)]


sounds = st.one_of(
    st.binary(max_size=130), st.sampled_from([960, 125, 126, 127, 65_535, 65_536, 70_000]).map(lambda size: b"s" * size)
)
said: st.SearchStrategy[Sent] = st.one_of(
    sounds.map(whole),
    st.text(max_size=40).map(whole),
    st.builds(in_parts, st.lists(st.binary(max_size=20), min_size=2, max_size=3), st.booleans()),
    st.just((frame(Opcode.PING, b"hello"), [])),
)


def run(test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(test)


@settings(max_examples=150)
@given(st.lists(said, max_size=8), st.lists(st.integers(1, 2_000), min_size=1, max_size=12), st.booleans())
def test_messages_are_the_same_however_they_are_divided(messages: list[Sent], cuts: list[int], late: bool) -> None:
    stream = b"".join(sent for sent, _ in messages)
    wanted = [one for _, heard in messages for one in heard]

    async def test() -> None:
        app = Application(late=late)
        protocol, socket = await connected(app)
        at = turn = 0
        while at < len(stream):
            size = cuts[turn % len(cuts)] if turn < 400 else 20_000
            protocol.data_received(stream[at : at + size])
            at, turn = at + size, turn + 1
        app.go.set()
        await turns()
        assert app.received == wanted
        assert socket.reading
        await over(protocol)
        assert app.code == 1005

    run(test())


async def test_an_application_that_does_not_attach_is_served_by_uvicorn() -> None:
    protocol, socket = await connected(plain)
    socket.written.clear()
    protocol.data_received(frame(Opcode.BINARY, b"sound") + frame(Opcode.TEXT, b"words"))
    await turns()
    assert bytes(socket.written) == Frame(Opcode.BINARY, b"sound").serialize(mask=False) + Frame(
        Opcode.TEXT, b"words"
    ).serialize(mask=False)
    await over(protocol)


async def test_pausing_stops_the_socket_and_nothing_is_lost() -> None:
    app = Application()
    protocol, socket = await connected(app)
    protocol.pause()
    protocol.pause()
    assert not socket.reading
    protocol.data_received(frame(Opcode.BINARY, b"was under way"))
    protocol.resume()
    protocol.resume()
    assert socket.reading
    assert app.received == [b"was under way"]
    await over(protocol)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Frame(Opcode.BINARY, b"not masked").serialize(mask=False), 1002),
        (b"\xc2" + frame(Opcode.BINARY, b"reserved bit")[1:], 1002),
        (frame(Opcode.CONT, b"nothing to go on with"), 1002),
        (frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (frame(Opcode.BINARY, bytes(17_000_000)), 1009),
    ],
    ids=["not masked", "reserved bit", "continuation of nothing", "text that is not UTF-8", "too large"],
)
async def test_a_violation_closes_the_connection_behind_valid_messages(wrong: bytes, code: int) -> None:
    app = Application()
    protocol, socket = await connected(app)
    socket.written.clear()
    protocol.data_received(frame(Opcode.BINARY, b"right") + wrong)
    await turns()
    assert app.received == [b"right"]
    assert bytes(socket.written[:1]) == b"\x88"
    assert int.from_bytes(socket.written[2:4]) == code
    await over(protocol)


async def test_an_offered_message_is_sent_at_once_or_not_at_all() -> None:
    app = Application()
    protocol, socket = await connected(app)
    socket.written.clear()
    assert protocol.offer('{"type":"ack"}')
    assert bytes(socket.written) == Frame(Opcode.TEXT, b'{"type":"ack"}').serialize(mask=False)
    protocol.pause_writing()
    assert not protocol.offer("the client does not read")
    protocol.resume_writing()
    assert protocol.offer("it does again")
    protocol.data_received(frame(Opcode.CLOSE, b"\x03\xe8"))
    assert not protocol.offer("the client is gone")
    await over(protocol)


def test_only_whole_masked_binary_messages_are_taken() -> None:
    long = bytes(65_535)
    begin = frame(Opcode.BINARY, b"") + frame(Opcode.BINARY, b"\x01" * 125) + frame(Opcode.BINARY, long)
    rests = [
        b"",
        b"\x82",
        frame(Opcode.BINARY, b"abc")[:-1],
        frame(Opcode.BINARY, b"abc", fin=False),
        Frame(Opcode.BINARY, b"abc").serialize(mask=False) + bytes(8),
        frame(Opcode.BINARY, bytes(65_536)),
        frame(Opcode.TEXT, b"abc"),
        frame(Opcode.PING, b"abc"),
    ]
    for rest in rests:
        # An empty message is too short to be told from the head of a longer one, and goes through the parser.
        assert whole_frames(begin[6:] + rest) == ([b"\x01" * 125, long], len(begin) - 6)
    assert whole_frames(frame(Opcode.BINARY, b"")) == ([], 0)


def fragments(number: int) -> bytes:
    """One message in so many fragments, all but the first empty."""
    rest = frame(Opcode.CONT, b"", fin=False) * (number - 2)
    return frame(Opcode.BINARY, b"ab", fin=False) + rest + frame(Opcode.CONT, b"")


async def test_a_message_has_at_most_a_thousand_fragments() -> None:
    app = Application()
    protocol, socket = await connected(app)
    protocol.data_received(fragments(MAX_FRAGMENTS) * 2)
    assert app.received == [b"ab", b"ab"]
    socket.written.clear()
    protocol.data_received(fragments(MAX_FRAGMENTS + 1) * 2)
    await turns()
    assert app.received == [b"ab", b"ab"]
    assert int.from_bytes(socket.written[2:4]) == 1009
    assert socket.closed
    await over(protocol)


async def test_of_pings_that_a_client_sends_without_reading_the_last_one_is_answered() -> None:
    app = Application()
    protocol, socket = await connected(app)
    socket.written.clear()
    pings = [frame(Opcode.PING, b"%d" % number) for number in range(1_000)]
    protocol.data_received(b"".join(pings[:2]))
    protocol.pause_writing()
    for at in range(2, 1_000, 10):
        protocol.data_received(b"".join(pings[at : at + 10]))
    protocol.data_received(frame(Opcode.BINARY, b"sound"))
    protocol.resume_writing()
    answered = b"".join(Frame(Opcode.PONG, b"%d" % number).serialize(mask=False) for number in (0, 1, 999))
    assert bytes(socket.written) == answered
    assert app.received == [b"sound"]
    await over(protocol)


async def test_a_connection_that_does_not_end_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.capture.protocol.CLOSE_WITHIN", 0.01)
    protocol, socket = await connected(Application())
    protocol.data_received(Frame(Opcode.BINARY, b"not masked").serialize(mask=False))
    await wait_until(lambda: socket.aborted, description="the connection is aborted")
    await over(protocol)
