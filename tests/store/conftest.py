from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from store.jobs import JobStore, connect


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with connect(redis_url, retention=60.0) as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client
