"""What a request may cost before it is understood."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from edge.server import MAX_HEAD, MAX_HEADERS
from tests.edge.conftest import Edge

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"


class Line:
    """A connection on which a test sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> int:
        """The status of the next answer, read whole."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await self.reader.readexactly(length)
        return int(head.split()[1])

    async def ended(self) -> bytes:
        """What still comes until the server closes the connection."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionResetError:  # it closed before it had read all that we sent
                return b""


async def line(edge: Edge) -> Line:
    parts = urlsplit(edge.url)
    return Line(*await asyncio.open_connection(parts.hostname, parts.port))


def padded(size: int) -> bytes:
    """A request of that size in all, of which the parser counts what is not punctuation."""
    head = REQUEST + b"Padding: "
    return head + b"x" * (size - len(head) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (padded(MAX_HEAD), 200),
        (padded(MAX_HEAD + 1_000), 431),
        (REQUEST + b"A: b\r\n" * (MAX_HEADERS - 1) + b"\r\n", 200),
        (REQUEST + b"A: b\r\n" * MAX_HEADERS + b"\r\n", 431),
        (b"GET /" + b"x" * (MAX_HEAD + 1_000) + b" HTTP/1.1\r\n\r\n", 431),
        (REQUEST + b"Endless: " + b"x" * 2 * MAX_HEAD, 431),
        (b"nonsense\r\n\r\n", 400),
    ],
    ids=["large", "too large", "many headers", "too many", "long path", "endless header", "nonsense"],
)
async def test_a_head_has_a_limit(edge: Edge, request_: bytes, status: int) -> None:
    connection = await line(edge)
    connection.writer.write(request_)
    assert await connection.status() == status
    if status != 200:
        assert await connection.ended() == b""
    connection.writer.close()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (REQUEST, b"HTTP/1.1 408 "),
        (REQUEST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"HTTP/1.1 408 "),
        (b"POST /api/v1/stream/create HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "head", "handshake", "body"],
)
async def test_a_request_that_does_not_come_whole_in_time_is_refused(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes, answer: bytes
) -> None:
    monkeypatch.setattr("edge.server.REQUEST_WITHIN", 0.2)
    connection = await line(edge)
    connection.writer.write(sent)
    assert (await connection.ended())[: len(b"HTTP/1.1 408 ")] == answer
    assert not [record for record in caplog.records if record.name == "uvicorn.error"]
    connection.writer.close()


async def test_the_second_request_of_a_connection_has_its_deadline_too(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await line(edge)
    connection.writer.write(REQUEST + b"\r\n")
    assert await connection.status() == 200
    monkeypatch.setattr("edge.server.REQUEST_WITHIN", 0.2)
    connection.writer.write(REQUEST)
    assert await connection.status() == 408
    assert await connection.ended() == b""
    connection.writer.close()


async def test_requests_in_parts_and_one_after_the_other_are_answered(edge: Edge) -> None:
    connection = await line(edge)
    for _ in range(3):
        for part in (REQUEST[:10], REQUEST[10:], b"\r\n"):
            connection.writer.write(part)
            await connection.writer.drain()
        assert await connection.status() == 200
    connection.writer.write((REQUEST + b"\r\n") * 2)
    assert [await connection.status(), await connection.status()] == [200, 200]
    connection.writer.close()
