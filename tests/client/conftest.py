from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from audio import write_flac
from tests.client import process
from tests.client.server import ScriptedServer, scripted_server
from tests.edge.conftest import Edge, running_edge

SECOND = bytes(range(256)) * 125


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    while process.STARTED:
        started = process.STARTED.pop()
        if started.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(started.pid, signal.SIGKILL)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections. It is bound all the time, so that nobody else can listen on it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def flac(tmp_path: Path) -> str:
    """A file of one second, SECOND."""
    write_flac(tmp_path / "meeting.flac", SECOND)
    return str(tmp_path / "meeting.flac")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server that follows the script it is given; by default a whole meeting."""
    async with scripted_server() as running:
        yield running


@pytest.fixture
async def edge(nats_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    """A real edge, which commands take for theirs."""
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_url) as started:
        monkeypatch.setenv("STENOBUS_URL", started.url)
        yield started
