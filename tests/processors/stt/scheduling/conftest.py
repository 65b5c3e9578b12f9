from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from processors.stt.scheduling.scheduler import Scheduler, SpeechEngine
from tests.processors.stt.engines import Gated
from tests.processors.stt.scheduling.asking import Start


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes a scheduler for an engine, with batches of up to `batch_size` utterances and `batch_seconds`."""
    made: list[tuple[Scheduler, SpeechEngine]] = []

    def make(engine: SpeechEngine, batch_size: int = 8, batch_seconds: float = 1_000) -> Scheduler:
        made.append((Scheduler(engine, batch_size, batch_seconds, asyncio.create_task), engine))
        return made[-1][0]

    yield make
    for scheduler, engine in made:
        if isinstance(engine, Gated):
            engine.allow_all()
        scheduler.close()
