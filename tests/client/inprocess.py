"""Commands in this process, in a fraction of a process's time; for tests that need no signals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from typer.testing import CliRunner

from client.__main__ import app


async def invoke(*args: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, in a pipe."""
    result = await asyncio.to_thread(CliRunner().invoke, app, args, prog_name="stenobus", env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
