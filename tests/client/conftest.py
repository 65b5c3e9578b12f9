from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.server import ScriptedServer, scripted_server


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server that follows the script it is given; by default a whole meeting."""
    async with scripted_server() as running:
        yield running
