"""A WebSocket client that sends any frames, also wrong ones."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True, rsv1: bool = False, mask: bool = True) -> bytes:
    serialized = Frame(opcode, data, fin).serialize(mask=mask)
    return bytes([serialized[0] | 0x40 * rsv1]) + serialized[1:]


def closing(code: int) -> bytes:
    return frame(Opcode.CLOSE, struct.pack("!H", code))


class Raw:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received: list[dict[str, Any]] = []

    def send(self, *frames: bytes) -> None:
        """All in one piece."""
        self.writer.write(b"".join(frames))

    async def receive(self) -> tuple[Opcode, bytes]:
        """The next frame of the server; EOFError where the connection has ended."""
        async with asyncio.timeout(60):
            first, size = await self.reader.readexactly(2)
            assert first & 0x70 == 0, "no extension was agreed on"
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return Opcode(first & 0x0F), await self.reader.readexactly(size)

    async def until(self, opcode: Opcode) -> bytes:
        """The next frame of a kind; text before it is kept in `received`."""
        while True:
            kind, data = await self.receive()
            if kind == Opcode.TEXT:
                self.received.append(json.loads(data))
            if kind == opcode:
                return data

    async def until_message(self, kind: str) -> dict[str, Any]:
        while True:
            await self.until(Opcode.TEXT)
            if self.received[-1]["type"] == kind:
                return self.received[-1]

    async def closed(self, *, answer: bool = True) -> int:
        """The server's close code, 1005 where it gave none; sees the end. `answer`: it was not the answer to ours."""
        data = await self.until(Opcode.CLOSE)
        if answer:
            self.send(frame(Opcode.CLOSE, data))
        async with asyncio.timeout(60):
            while await self.reader.read(65_536):
                pass
        return int(struct.unpack("!H", data[:2])[0]) if data else 1005


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Raw]:
    """Connected to `url`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**21)
    try:
        request = HANDSHAKE.format(path=parts.path, host=parts.netloc)
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
