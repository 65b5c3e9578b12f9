from collections.abc import AsyncIterator

import pytest

from tests.ollama_server import OllamaServer, serving


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    """A running server with model gemma3."""
    async with serving(OllamaServer()) as server:
        yield server
