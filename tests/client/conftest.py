from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from tests.client import test_main
from tests.client.server import ScriptedServer, scripted_server
from tests.edge.conftest import Edge, running_edge


@pytest.fixture(autouse=True)
def _no_command_is_left() -> Iterator[None]:
    yield
    while test_main.STARTED:
        process = test_main.STARTED.pop()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


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
