"""Commands in this process: as `run` of test_main.py, in a fraction of its time, for those that need no signals."""

from __future__ import annotations

import asyncio

from typer.testing import CliRunner

from client.__main__ import app


async def invoke(*args: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, in a pipe."""
    result = await asyncio.to_thread(CliRunner().invoke, app, args, prog_name="stenobus")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
