"""A processor is one folder: once added it runs with the others, and readers ignore its unknown events."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import msgpack
import websockets

from audio import decode
from bus import Bus, connect
from bus.requests import present
from processors.insights.messages import Insights
from tests.support import wait_until
from tests.test_imports import violations
from tools.system import System, running_system

ROOT = Path(__file__).parents[2]
PARTS = ("audio", "bus", "compose", "contract", "edge", "processors", "store")

APPLAUSE = '''
"""Applauds each completed job."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, run, serve
from bus.requests import announce
from contract import Completed, Message


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APPLAUSE_")

    hands: int = Field(2, ge=1)


class Applause(Message):
    SUBJECT = "events.{job}.applause"

    claps: int


async def main(bus: Bus, settings: Settings) -> None:
    async def handle(completed: Completed) -> Sequence[Message]:
        return [Applause(job=completed.job, claps=settings.hands * completed.segments)]

    await announce(bus, "applause")
    await serve(bus, Completed, handle, durable="applause")


if __name__ == "__main__":
    run("applause", main, Settings)
'''


async def hold_meeting(system: System, **options: Any) -> tuple[str, list[dict[str, Any]]]:
    """Run a job from its creation to its summary; returns its id and the messages of the socket."""
    pcm = b"".join(decode(ROOT / "samples" / "quiet.flac"))
    async with httpx.AsyncClient(base_url=system.url) as client:
        created = (await client.post("/api/v1/stream/create", json=options)).json()
    async with websockets.connect(created["ws_url"], proxy=None) as socket:
        for start in range(0, len(pcm), 16_000):
            await socket.send(pcm[start : start + 16_000])
        await socket.send(json.dumps({"command": "stop"}))
        async with asyncio.timeout(60):
            messages = [json.loads(message) async for message in socket]
    return created["job_id"], messages


async def test_a_folder_that_is_added_is_a_processor(tmp_path: Path) -> None:
    root = tmp_path / "system"
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "processors" / "applause"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(APPLAUSE)
    assert violations(root) == []

    # Nothing answers there: the summary is the extractive one, at once.
    env = {"OLLAMA_HOST": "127.0.0.1:9", "SUMMARY_CONNECT_DEADLINE": "0.1", "APPLAUSE_HANDS": "3"}
    async with running_system(tmp_path / "data", root=root, **env) as system:
        job, messages = await hold_meeting(system, metadata={"keywords": ["budget"]})
        segments = [message["index"] for message in messages if message["type"] == "transcript_segment"]
        assert segments
        assert messages[-1]["type"] == "final_summary"
        async with connect(system.bus_url) as bus:
            assert (await applause(bus, job))["claps"] == 3 * len(segments)
            assert (await final(bus, job)).segments == len(segments)
            assert await present(bus, "applause")
            assert await present(bus, "insights")
        async with httpx.AsyncClient(base_url=system.url) as client:
            ready = (await client.get("/readyz")).json()
            assert not {"applause", "insights"} & set(ready["checks"])  # the edge does not depend on them
            seen = (await client.get(f"/api/v1/jobs/{job}")).json()
            assert seen["state"] == "completed"


async def applause(bus: Bus, job: str) -> dict[str, Any]:
    subject = f"events.{job}.applause"
    await wait_until(lambda: bus.last_raw(subject), description=subject)
    raw = await bus.last_raw(subject)
    assert raw is not None
    found: dict[str, Any] = msgpack.unpackb(raw.data)
    return found


async def final(bus: Bus, job: str) -> Insights:
    async with aclosing(bus.read("EVENTS", Insights.pattern(job))) as messages:
        async for raw in messages:
            if (insights := Insights.read(raw.subject, raw.data)).final:
                return insights
    raise AssertionError("a live read does not end")
