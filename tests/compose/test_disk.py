from __future__ import annotations

import asyncio
import json

import pytest

from compose.disk import ENOUGH, enough, keep_storing
from compose.servers import Server
from tests.small_disk import small_disk
from tests.support import wait_until


def test_how_much_room_is_enough() -> None:
    assert enough(1_000_000_000_000) == ENOUGH
    assert enough(100_000_000) == 10_000_000


async def test_nats_is_started_again_once_there_is_room_and_not_before(nats_server: Server) -> None:
    """The edge is a web server that answers what it is told to; for a whole system see tests/system/test_full.py."""
    checks = {"bus": "ok", "storage": "NATS cannot write AUDIO: no space left on device"}
    asked, said = 0, list[str]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(b"HTTP/1.1 503 No\r\n\r\n" + json.dumps({"checks": checks}).encode())
        writer.close()

    assert nats_server.child
    with small_disk(64) as disk:
        disk.fill()
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as edge:
            port = edge.sockets[0].getsockname()[1]
            watching = asyncio.create_task(keep_storing(nats_server, disk.path, "127.0.0.1", port, said.append, 0.01))
            await wait_until(lambda: asked > 3, description="the edge was asked several times")
            assert nats_server.child.returncode is None
            assert len(said) == 1
            assert said[0].startswith(
                "nothing can be stored: NATS cannot write AUDIO: no space left on device; 0 MB are"
            )
            disk.make_room()
            await nats_server.child.wait()
            assert said[1:] == ["there is room on the disk: nats-server is started again"]
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
