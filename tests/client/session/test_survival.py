"""The command against the real system, whose edge is killed while it streams."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import psutil

from tests.client.process import until_acked
from tools.system import ROOT, System, running_system

SAMPLE = ROOT / "samples" / "quiet.flac"


async def start(system: System, *arguments: str) -> Process:
    command = [sys.executable, "-m", "client", "stream", str(SAMPLE), "--json", "--server", system.url, *arguments]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)


def edge(system: System) -> psutil.Process:
    children = psutil.Process(system.process.pid).children()
    return next(child for child in children if child.cmdline()[-2:] == ["-m", "edge"])


def segments(out: bytes) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in out.splitlines()]
    assert messages[-1]["type"] == "final_summary"
    return sorted(
        (message for message in messages if message["type"] == "transcript_segment"),
        key=lambda each: int(each["index"]),
    )


async def test_no_word_is_lost_or_repeated_when_the_edge_is_killed(tmp_path: Path) -> None:
    async with running_system(tmp_path, OLLAMA_HOST="http://127.0.0.1:9", SUMMARY_CONNECT_DEADLINE="0.5") as system:
        process = await start(system)
        out = await until_acked(process)
        edge(system).kill()
        rest, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        assert b'"type": "reconnecting"' in err
        assert (out + rest).count(b'"connection_success"') >= 2

        undisturbed = await start(system, "--fast")
        expected, err = await undisturbed.communicate()
        assert undisturbed.returncode == 0, err.decode()
    assert len(segments(expected)) > 1
    assert segments(out + rest) == segments(expected)
