"""Real servers for every test that wants one: on a free port, in the test's own folder, gone when the test is."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from bus import Bus, connect
from compose import servers

# Through the standard library, so that pytest shows it with the test it belongs to; the default would write to the
# stdout of whichever test is running.
structlog.configure(
    processors=[structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.stdlib.LoggerFactory(),
)


_LONGEST = ("chaos", "edge/web", "system", "bench", "processors/stt")
"""Folders whose files take longest. They come first: at the end they would leave the other workers without work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, all else as it was."""
    here = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((at for at, folder in enumerate(_LONGEST) if path.startswith(folder)), len(_LONGEST))

    items.sort(key=turn)


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Programs that a test runs in this process may set their own logging up; the next test has the tests' again."""
    ours = structlog.get_config()
    yield
    structlog.configure(**ours)


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[servers.Server]:
    """A running nats-server; `await` its `kill()` (a crash), `stop()` (in order), `start()` (same port, same data)."""
    server = servers.nats_server(tmp_path / "nats")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[servers.Server]:
    """A running redis-server; `await` its `kill()` (a crash), `stop()` (in order), `start()` (same port, same data)."""
    server = servers.redis_server(tmp_path / "redis")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
def nats_url(nats_server: servers.Server) -> str:
    return nats_server.url


@pytest.fixture
def redis_url(redis_server: servers.Server) -> str:
    return redis_server.url


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus on a fresh nats-server."""
    async with connect(nats_url) as connected:
        yield connected
