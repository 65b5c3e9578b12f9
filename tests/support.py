"""What tests of every folder share."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext


async def wait_until(
    predicate: Callable[[], Any] | Callable[[], Awaitable[Any]], *, description: str, timeout: float = 60
) -> None:
    """Return once `predicate` (sync or async) gives something true; fail with `description` after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                result = predicate()
                if await result if inspect.isawaitable(result) else result:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited {timeout:g} s for: {description}")


@asynccontextmanager
async def connected_client(url: str) -> AsyncIterator[tuple[Client, JetStreamContext]]:
    """A bare NATS client, for what another program could do on the bus."""
    client = await nats.connect(url)
    try:
        yield client, client.jetstream()
    finally:
        await client.close()
