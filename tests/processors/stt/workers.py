"""Starting workers, in this process or another, and reading what they publish."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bus import Bus, connect
from contract import (
    Message,
    Source,
    SpeechOptions,
    Transcript,
    Utterance,
    parse_event,
)
from processors.stt.scheduling.scheduler import SpeechEngine
from processors.stt.worker import Settings, serve_utterances
from tests.processors.stt.engines import load_none
from tests.processors.stt.sounds import ROOT
from tests.support import wait_until


def utterance(
    index: int, *, job: str = "j", pcm: bytes = b"", source: Source = "live", generation: int = 1, model: str = ""
) -> Utterance:
    pcm = pcm or bytes(2 * (1_600 + index))
    start = index * 32_000
    options = SpeechOptions(model=model or None)
    return Utterance(
        job=job,
        generation=generation,
        source=source,
        index=index,
        start=start,
        end=start + len(pcm) // 2,
        pcm=pcm,
        options=options,
    )


def last(count: int, *, job: str = "j") -> Utterance:
    return Utterance(job=job, index=count, start=count * 32_000, end=count * 32_000, last=True)


@asynccontextmanager
async def working(url: str, engine: SpeechEngine, **settings: float) -> AsyncIterator[None]:
    """A worker in this process."""
    async with connect(url, name="stt") as bus:
        task = asyncio.create_task(serve_utterances(bus, engine, Settings.model_validate(settings), load_none))
        try:
            yield
        finally:
            bus.stopping.set()
            await task


@asynccontextmanager
async def process(*args: str, log: Path, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process, killed at the end if it still runs."""
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            sys.executable, *args, cwd=ROOT, env={**os.environ, **env}, stdout=file, stderr=file
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def events(bus: Bus, job: str = "j") -> list[Message]:
    raws = await bus.history("EVENTS", f"events.{job}.>")
    return [message for raw in raws if (message := parse_event(raw.subject, raw.data))]


async def transcripts(bus: Bus, job: str = "j") -> list[Transcript]:
    return [message for message in await events(bus, job) if isinstance(message, Transcript)]


async def wait_for_transcripts(bus: Bus, count: int, job: str = "j") -> None:
    async def there() -> bool:
        return len(await transcripts(bus, job)) >= count

    await wait_until(there, description=f"{count} transcripts")


async def wait_until_settled(bus: Bus, *sources: Source) -> None:
    """Wait until each utterance of these sources is acked; by default of `live`."""

    async def settled() -> bool:
        infos = [await bus.connection.js.consumer_info("SPEECH", f"stt-{source}") for source in sources or ("live",)]
        return not any(info.num_pending or info.num_ack_pending for info in infos)

    await wait_until(settled, description="every utterance acked")
