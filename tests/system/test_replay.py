"""Stored meetings through the whole system once more, every part real."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from audio import decode
from bus import connect
from client.session.capture import capture
from client.session.source import in_thread
from tests.system.test_system import SAMPLES, segments, stenobus, stream
from tools.system import MODEL, System, running_system

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300), pytest.mark.slow]

OTHER = "whisper-other"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("replay")
    shutil.copytree(MODEL, folder / OTHER)
    nobody = "http://127.0.0.1:1"
    async with running_system(folder / "data", OLLAMA_HOST=nobody, STT_MODELS=str(folder / OTHER)) as started:
        yield started


async def replay(system: System, job: str, *arguments: str) -> list[dict[str, Any]]:
    status, out, err = await stenobus("replay", job, "--json", "--server", system.url, *arguments)
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


def said(live: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The segments of a capture without what only the socket sends."""
    return [{name: value for name, value in found.items() if name != "segment_number"} for found in segments(live)]


async def record(system: System, job: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=system.url) as http:
        found: dict[str, Any] = (await http.get(f"/api/v1/jobs/{job}")).json()
        return found


async def test_a_meeting_in_two_languages_has_the_same_transcript_again(system: System) -> None:
    live = await stream(system, "meeting.flac", "--fast")
    job = live[-1]["job_id"]
    before = await record(system, job)
    messages = await replay(system, job)
    assert segments(messages) == said(live)
    done = messages[-1]
    assert (done["type"], done["generation"], done["segments"]) == ("replayed", 2, len(segments(live)))
    after = await record(system, job)
    assert [made["generation"] for made in after["generations"]] == [1, 2]
    assert all(made["done"] for made in after["generations"])
    assert {**after, "generations": None} == {**before, "generations": None}  # the finished job is what it was
    status, out, _ = await stenobus("diff", job, "--json", "--server", system.url)
    found = json.loads(out)
    assert (status, found["wer"], found["changes"]) == (0, 0.0, [])


async def test_with_another_model(system: System) -> None:
    job = (await stream(system, "quiet.flac", "--fast"))[-1]["job_id"]
    again = await replay(system, job, "--model", OTHER)
    assert again[-1]["model"] == OTHER
    status, out, _ = await stenobus("diff", job, "--server", system.url)
    assert (status, out.splitlines()[-1].partition(":")[0]) == (
        0,
        f"generation 1 (whisper-micro) to {again[-1]['generation']} ({OTHER})",
    )
    unknown = await replay(system, job, "--model", "whisper-none")
    accepted = f"accepted: null (the worker's own), whisper-micro, {OTHER}"
    assert {segment["error"] for segment in segments(unknown)} == {f"model 'whisper-none': not offered; {accepted}"}


async def test_a_meeting_whose_pauses_were_judged(system: System) -> None:
    """What was understood while it was live is known no more; it is cut where it was all the same."""
    wanted = {"vad": {"endpointing": "adaptive"}, "summary": False}
    live = [
        message
        async for message in capture([system.url], in_thread(decode(SAMPLES / "standup.flac")), wanted, fast=False)
    ]
    job = live[-1]["job_id"]
    async with connect(system.bus_url) as bus:
        stored = await bus.history("AUDIO", f"audio.{job}")
    assert any(raw.data[1] & 2 for raw in stored), "no pause was judged: this test shows nothing"
    again = await replay(system, job)
    assert segments(again) == said(live)
