"""The whole system in a folder, as `python -m compose` runs it, with whisper-micro: for the demo, benches and tests."""

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
    """A system that is ready at `url`, with all that it keeps below `data`."""

    url: str
    data: Path
    process: Process

    @property
    def bus_url(self) -> str:
        """Where its bus listens; compose says so when it starts."""
        told = re.search(r"bus (nats://\S+),", (self.data / "logs" / "compose.log").read_text())
        assert told is not None  # noqa: S101 - it is ready, so compose has said it
        return told[1]


@asynccontextmanager
async def running_system(data: Path, *, root: Path = ROOT, **env: str) -> AsyncIterator[System]:
    """Start everything on free ports, with further environment variables; stop it in order. Raises SystemFailed."""
    (data / "logs").mkdir(parents=True, exist_ok=True)
    with (data / "logs" / "compose.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "compose", "--port", "0", "--data", str(data)),
            cwd=root,
            env=os.environ | {"STT_MODEL": str(MODEL)} | env,
            stdout=PIPE,
            stderr=log,
            process_group=0,  # Ctrl-C is for the program that started the system, which then stops it in order
        )
    try:
        yield System(await _ready(process, data), data, process)
    finally:
        await stop(process)


async def _ready(process: Process, data: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        async with asyncio.timeout(READY_WITHIN):
            line = (await process.stdout.readline()).decode().strip()
    except TimeoutError as exc:
        raise SystemFailed(f"the system was not ready within {READY_WITHIN:g} s\n{tails(data)}") from exc
    word, _, url = line.partition(" ")
    if word != "ready" or not url:
        raise SystemFailed(f"the system did not start: {line or 'it ended without a word'}\n{tails(data)}")
    return url


async def stop(process: Process) -> None:
    """SIGTERM, and SIGKILL if that does not help."""
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
    """Give the last lines of each log file of a system, below its name."""
    parts = []
    for log in sorted((data / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        parts.append("\n".join([f"--- {log.name}", *lines]))
    return "\n".join(parts)
