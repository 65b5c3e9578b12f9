"""Real servers for every test: one nats-server and one redis-server for each pytest worker, emptied between tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from bus import Bus, connect
from compose import servers
from tests.shared_servers import SharedServer, empty_nats, empty_redis
from tools import assets

# Through the standard library, so that pytest shows it with the test it belongs to; the default would write to the
# stdout of whichever test is running.
structlog.configure(
    processors=[structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.stdlib.LoggerFactory(),
)

# Hypothesis fails an example that takes long, which on a busy machine says nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_LONGEST = (
    *("bench/test_programs", "chaos", "edge/web/test_capture", "edge/web/test_jobs", "system"),
    *("edge/web", "processors/vad", "client/session", "processors"),
)
"""Paths of the tests that take longest. They come first, lest one worker has them left at the end."""


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


@pytest.fixture(scope="session")
def shared_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    """The nats-server of this pytest worker; tests use it through `nats_url`."""
    with SharedServer(servers.nats_server, tmp_path_factory) as shared:
        yield shared


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    """The redis-server of this pytest worker; tests use it through `redis_url`."""
    with SharedServer(servers.redis_server, tmp_path_factory) as shared:
        yield shared


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[servers.Server]:
    """A nats-server for this test alone, which may `kill()` (a crash), `stop()` and `start()` it; see `nats_url`."""
    server = servers.nats_server(tmp_path / "nats")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[servers.Server]:
    """A redis-server for this test alone, which may `kill()` (a crash), `stop()` and `start()` it; see `redis_url`."""
    server = servers.redis_server(tmp_path / "redis")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def shared_nats_url(shared_nats: SharedServer) -> str:
    return await empty_nats(shared_nats)


@pytest.fixture
async def shared_redis_url(shared_redis: SharedServer) -> str:
    return await empty_redis(shared_redis)


@pytest.fixture
def nats_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty nats-server: the test's own if the test asks for `nats_server`, else the worker's."""
    if "nats_server" in request.fixturenames:
        own: servers.Server = request.getfixturevalue("nats_server")
        return own.url
    return str(request.getfixturevalue("shared_nats_url"))


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty redis-server: the test's own if the test asks for `redis_server`, else the worker's."""
    if "redis_server" in request.fixturenames:
        own: servers.Server = request.getfixturevalue("redis_server")
        return own.url
    return str(request.getfixturevalue("shared_redis_url"))


@pytest.fixture(scope="session")
def whisper_base() -> Path:
    """The folder of stock Whisper base. A test that uses it is marked `real`, and fails where it cannot be had."""
    return assets.model("base")


@pytest.fixture(scope="session")
def people() -> dict[str, assets.Recording]:
    """Recordings of real people by name. A test that uses them is marked `real`, and fails where they cannot be had."""
    return {recording.name: recording for recording in assets.people()}


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus on an empty nats-server."""
    async with connect(nats_url) as connected:
        yield connected
