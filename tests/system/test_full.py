"""The disk of a whole system is full in the middle of a meeting: it says why, and goes on by itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import websockets

from audio import decode
from tests.small_disk import small_disk
from tests.support import wait_until
from tools.system import ROOT, running_system

pytestmark = pytest.mark.timeout(300)

FRAME = 960


async def test_a_meeting_goes_on_after_the_disk_was_full(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = b"".join(decode(ROOT / "samples" / "quiet.flac"))
    sound = sound[: len(sound) // FRAME * FRAME]
    frames = [sound[at : at + FRAME] for at in range(0, len(sound), FRAME)]
    with small_disk(120) as disk:
        async with (
            running_system(disk.path / "data", OLLAMA_HOST="127.0.0.1:1", SUMMARY_CONNECT_DEADLINE="0.1") as system,
            httpx.AsyncClient(base_url=system.url) as http,
        ):
            job = (await http.post("/api/v1/stream/create", json={"language": "en"})).json()
            received: list[dict[str, Any]] = []

            async def checks() -> dict[str, str]:
                return dict((await http.get("/readyz")).json()["checks"])

            async def full() -> bool:
                return "no space left on device" in (await checks())["storage"]

            async def refused() -> bool:
                return (await http.post("/api/v1/stream/create")).status_code == 503

            async def ready() -> bool:
                return (await http.get("/readyz")).status_code == 200

            async with websockets.connect(job["ws_url"], proxy=None) as socket:

                async def read() -> None:
                    async for message in socket:
                        received.append(json.loads(message))  # noqa: PERF401 - each is looked at as it comes

                async def send() -> None:
                    for frame in frames[50:]:
                        await socket.send(frame)
                    await socket.send(json.dumps({"command": "stop"}))

                reading = asyncio.create_task(read())
                for frame in frames[:50]:
                    await socket.send(frame)
                await wait_until(lambda: [m for m in received if m["type"] == "ack"], description="the first ack")
                disk.fill()
                sending = asyncio.create_task(send())
                await wait_until(full, description="the server says that its disk is full")
                await wait_until(refused, description="new jobs are refused")
                detail = (await http.post("/api/v1/stream/create")).json()["detail"]
                assert "no space left on device" in detail
                await wait_until(
                    lambda: [m for m in received if "no space left on device" in m.get("trouble", "")],
                    description="the client is told why its audio waits",
                )
                disk.make_room()
                await wait_until(ready, description="the system is ready again")
                await asyncio.gather(sending, reading)
            assert received[-1]["type"] == "final_summary"
            wav = (await http.get(f"/api/v1/jobs/{job['job_id']}/audio.wav")).content
            assert wav[44:] == sound
            text = (await http.get(f"/api/v1/jobs/{job['job_id']}")).json()
            assert text["state"] == "completed"
            assert text["transcript"]
