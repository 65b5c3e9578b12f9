from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from compose.ports import free_port
from compose.ready import missing, wait_ready
from tests.support import wait_until


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"status": "waiting", "checks": {"bus": "ok", "stt": "no worker answers"}}', "stt (no worker answers)"),
        ('{"checks": {"bus": "away", "store": "away"}}', "bus (away), store (away)"),
        ("Service Unavailable", "Service Unavailable"),
        ('{"detail": "no checks"}', '{"detail": "no checks"}'),
        ('{"checks": ["stt"]}', '{"checks": ["stt"]}'),
        ("[]", "[]"),
    ],
)
def test_what_is_missing_in_words(answer: str, words: str) -> None:
    assert missing(answer) == words


@asynccontextmanager
async def answering(answers: Iterator[str], port: int = 0) -> AsyncIterator[int]:
    """A web server that gives one answer after the other; gives its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /readyz HTTP/1.1\r\n")
        writer.write(f"HTTP/1.1 {next(answers)}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        yield server.sockets[0].getsockname()[1]


async def test_says_what_is_missing_until_200() -> None:
    said: list[str] = []
    answers = iter(["503 No\r\n\r\nno stt\r\n", "503 No\r\n\r\n", "200 OK\r\n\r\nyes"])
    async with answering(answers) as port:
        await wait_ready("127.0.0.1", port, said.append, every=0)
    assert said == ["not ready yet: no stt", "not ready yet: HTTP 503"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_waits_for_an_edge_that_does_not_listen_yet(host: str) -> None:
    said: list[str] = []
    port = free_port()
    waiting = asyncio.create_task(wait_ready(host, port, said.append, every=0))
    await wait_until(lambda: said, description="it says that the edge is missing")
    assert said[0].startswith("not ready yet: the edge does not answer (")
    async with answering(iter(["200 OK\r\n\r\n"]), port):
        await waiting


async def test_is_quiet_at_first() -> None:
    said: list[str] = []
    async with answering(iter(["503 No\r\n\r\n", "garbage\r\n\r\n", "200 OK\r\n\r\n"])) as port:
        await wait_ready("127.0.0.1", port, said.append)
    assert said == []


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with answering(iter(["200 OK\r\n\r\n"])) as port:
        await wait_ready("127.0.0.1", port, print)
