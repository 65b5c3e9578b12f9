"""A proxy between the browser and the server: it can cut WebSockets, and can serve below a path prefix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Mount:
    """A path prefix below which the proxy serves.

    strip: whether it removes the prefix from the path; headers: set on each request; outside: paths that were asked for
    and are not below the prefix.
    """

    prefix: str
    strip: bool
    headers: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)

    def forwarded(self, head: bytes) -> bytes | None:
        """The head of a request as the server gets it; None for a path outside."""
        line, *headers = head[:-4].decode("latin1").split("\r\n")
        method, path, version = line.split(" ")
        if path != self.prefix and not path.startswith((f"{self.prefix}/", f"{self.prefix}?")):
            self.outside.append(path)
            return None
        if self.strip:
            path = path.removeprefix(self.prefix) or "/"
        ours = self.headers
        if b"upgrade: websocket" not in head.lower():
            ours = ours | {"Connection": "close"}  # so that there is one request in a connection, and all are read here
        names = {name.lower() for name in ours}
        theirs = [header for header in headers if header.partition(":")[0].lower() not in names]
        lines = [f"{method} {path} {version}", *theirs, *(f"{name}: {value}" for name, value in ours.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin1")


class Proxy:
    """`url` is where it listens. While it is cut, WebSockets break without a close frame and new ones are refused."""

    def __init__(self, target: str, mount: Mount | None = None) -> None:
        self.url = ""
        self.refused = 0
        self._mount = mount
        self._target = urlsplit(target)
        self._cut = False
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._cut = True
        for connection in self._connections:
            connection.transport.abort()

    def mend(self) -> None:
        self._cut = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            socket = b"upgrade: websocket" in head.lower()
            if socket and self._cut:
                self.refused += 1
                return
            forwarded = head if self._mount is None else self._mount.forwarded(head)
            if forwarded is None:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            answers, there = await asyncio.open_connection(self._target.hostname, self._target.port)
            if socket:
                self._connections |= {writer, there}
            there.write(forwarded)
            await asyncio.gather(pump(reader, there), pump(answers, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled by `stop`
        finally:
            for connection in filter(None, (writer, there)):
                self._connections.discard(connection)
                connection.transport.abort()

    async def stop(self) -> None:
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def proxying(target: str, mount: Mount | None = None) -> AsyncIterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 before the server at `target`; `url` has no prefix."""
    proxy = Proxy(target, mount)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
    finally:
        server.close()
        await proxy.stop()
