"""A proxy between the browser and the server, whose WebSockets a test can cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """`url` is where it listens. While it is cut, WebSockets break without a close frame and new ones are refused."""

    def __init__(self, target: str) -> None:
        self.url = ""
        self.refused = 0
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
            answers, there = await asyncio.open_connection(self._target.hostname, self._target.port)
            if socket:
                self._connections |= {writer, there}
            there.write(head)
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
async def proxying(target: str) -> AsyncIterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 before the server at `target`."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
    finally:
        server.close()
        await proxy.stop()
