"""A laptop that is suspended, or a process that is stopped, in the middle of a meeting; the sound comes from a file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.client.process import until_acked
from tools.system import ROOT, System, running_system

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SAMPLE = ROOT / "samples" / "quiet.flac"
STOPPED = 10.0
"""Seconds; longer than each of the settings below."""


def processes(system: System, who: str, client: int) -> list[psutil.Process]:
    if who == "client":
        return [psutil.Process(client)]
    compose = psutil.Process(system.process.pid)
    children = compose.children(recursive=True)
    if who == "edge":
        return [child for child in children if child.cmdline()[-2:] == ["-m", "edge"]]
    return [psutil.Process(client), compose, *children]


async def stream(system: System, who: str = "") -> tuple[int, list[dict[str, Any]], str]:
    """Stream the sample in real time while `who` is stopped for a while: exit code, messages, what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "stream", str(SAMPLE), "--json", "--server", system.url),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    read = await until_acked(process)
    stopped = processes(system, who, process.pid) if who else []
    for each in stopped:
        os.kill(each.pid, signal.SIGSTOP)
    await asyncio.sleep(STOPPED if who else 0)
    for each in reversed(stopped):
        os.kill(each.pid, signal.SIGCONT)
    rest, err = await process.communicate()
    return process.returncode or 0, [json.loads(line) for line in (read + rest).splitlines()], err.decode()


def segments(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [message for message in messages if message["type"] == "transcript_segment"]
    return sorted(found, key=lambda segment: int(segment["index"]))


NO_MODEL = {"OLLAMA_HOST": "127.0.0.1:1", "SUMMARY_CONNECT_DEADLINE": "0.1"}
SHORT = {"VAD_ABANDONED": "6", "STT_ACK_WAIT": "5", "EDGE_IDLE": "7"}


@pytest.mark.parametrize(
    ("who", "settings"),
    [("all", SHORT), ("client", {}), ("edge", {"EDGE_IDLE": "7"})],
    ids=["the laptop", "the client", "the edge"],
)
async def test_nothing_is_missing_and_times_stay_right(tmp_path: Path, who: str, settings: dict[str, str]) -> None:
    async with running_system(tmp_path, root=ROOT, **NO_MODEL, **settings) as system:
        code, messages, err = await stream(system, who)
        assert (code, messages[-1]["type"]) == (0, "final_summary"), err
        _, expected, _ = await stream(system)
    assert len(segments(expected)) > 1
    assert segments(messages) == segments(expected)


@pytest.mark.parametrize(
    ("who", "settings"),
    [("client", {"EDGE_IDLE": "3"}), ("edge", {"VAD_ABANDONED": "3"})],
    ids=["the client", "the edge"],
)
async def test_a_job_that_ended_meanwhile_says_what_is_missing(
    tmp_path: Path, who: str, settings: dict[str, str]
) -> None:
    async with running_system(tmp_path, root=ROOT, **NO_MODEL, **settings) as system:
        code, messages, err = await stream(system, who)
        assert code == 1
        assert "was not delivered" in err, err
        job = next(message["job_id"] for message in messages if message["type"] == "connection_success")
        async with httpx.AsyncClient(base_url=system.url) as http:
            found = (await http.get(f"/api/v1/jobs/{job}")).json()
        assert found["state"] == "completed"
