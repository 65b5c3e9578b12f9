"""Runs the whole system for the demo, benches and tests: `python -m compose` with whisper-micro and a data folder."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "whisper-micro"

READY_WITHIN = 60.0
STOP_WITHIN = 10.0
TAIL_LINES = 15


class SystemFailed(Exception):
    """The system did not start; the message says why, with the ends of the log files."""


@dataclass(frozen=True)
class System:
    """A running system at `url`; all its files are below `data`."""

    url: str
    data: Path
    process: Process

    @property
    def bus_url(self) -> str:
        """URL of its bus, from the log of compose."""
        found = re.search(r"bus (nats://\S+),", (self.data / "logs" / "compose.log").read_text())
        assert found is not None  # noqa: S101 - compose logs it before the system is ready
        return found[1]


@asynccontextmanager
async def running_system(data: Path, *, root: Path = ROOT, **env: str) -> AsyncIterator[System]:
    """Start everything on free ports, with these environment variables too; stop it at the end. Raises SystemFailed."""
    (data / "logs").mkdir(parents=True, exist_ok=True)
    with (data / "logs" / "compose.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "compose", "--port", "0", "--data", str(data)),
            cwd=root,
            env=os.environ | {"STT_MODEL": str(MODEL)} | env,
            stdout=PIPE,
            stderr=log,
            process_group=0,  # Ctrl-C goes to our program only, which then stops the system
        )
    try:
        yield System(await _ready(process, data), data, process)
    finally:
        await stop(process)


async def _ready(process: Process, data: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    try:
        async with asyncio.timeout(READY_WITHIN):
            line = (await process.stdout.readline()).decode().strip()
    except TimeoutError as exc:
        raise SystemFailed(f"the system was not ready within {READY_WITHIN:g} s\n{tails(data)}") from exc
    word, _, url = line.partition(" ")
    if word != "ready" or not url:
        raise SystemFailed(f"the system did not start: {line or 'it ended without a message'}\n{tails(data)}")
    return url


async def stop(process: Process) -> None:
    """Send SIGTERM, then SIGKILL if it has not ended within STOP_WITHIN seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def tails(data: Path) -> str:
    """The last lines of each log file, under the file's name."""
    parts = []
    for log in sorted((data / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        parts.append("\n".join([f"--- {log.name}", *lines]))
    return "\n".join(parts)
