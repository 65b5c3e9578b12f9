"""A real browser, and the page that it shows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.edge.web.scripted_server import Server
from tests.edge.web.site import Site, serving
from tests.edge.web.window import window
from tools.browser import browser

expect.set_options(timeout=60_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """The files of the page, without a server behind them."""
    async with serving() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as launched:
        yield launched


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are saved: the folder `SCREENSHOTS`, else one of the test run."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def server() -> Server:
    """What answers the page in tests that choose the answers."""
    return Server()


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, site: Site, server: Server) -> AsyncIterator[Page]:
    """The page with that server."""
    async with window(chromium, site.url, before=server.attach) as opened:
        yield opened
