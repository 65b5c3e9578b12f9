from __future__ import annotations

import pytest

from bus import Bus
from tests.edge.conftest import Edge
from tests.edge.meeting import hold


@pytest.fixture
async def finished(edge: Edge, bus: Bus, redis_url: str) -> str:
    """A finished job with two segments, created with a title."""
    job = await edge.create(title='Greetings: "회의"')
    await hold(bus, redis_url, job)
    return job
