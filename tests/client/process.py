"""The command as a process of its own, for tests of signals, stdin and terminals."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

STARTED: list[Process] = []
"""Processes that are killed when their test has ended, however it did."""


async def start(*args: str, before: Sequence[str] = (), module: str = "client", **environment: str) -> Process:
    """Start the command, or another module; `before`: a program, with its arguments, that is to start it."""
    environ = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"} | environment
    command = [*before, sys.executable, "-m", module, *args]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env=environ
    )
    STARTED.append(process)
    return process


async def run(*args: str, stdin: bytes = b"", **environment: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of the command."""
    return await run_in(environment, *args, stdin=stdin)


async def run_in(
    environment: Mapping[str, str], *args: str, stdin: bytes = b"", before: Sequence[str] = (), module: str = "client"
) -> tuple[int | None, str, str]:
    """As `run` and `start`."""
    process = await start(*args, before=before, module=module, **environment)
    out, err = await process.communicate(stdin)
    return process.returncode, out.decode(), err.decode()


async def until_acked(process: Process) -> bytes:
    """What the client prints until the server has acked some of its sound."""
    assert process.stdout is not None
    read = b""
    while b'"ack"' not in read:
        line = await process.stdout.readline()
        assert line, "the client has ended"
        read += line
    return read
