"""One child process: its output goes to a file, it dies with us, and it stops within a bound."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

GUARD = Path(__file__).with_name("guard.py")
LOG_BYTES = 10_000_000
"""A log longer than this is set aside as `NAME.log.1` when its process is started again."""


class Child:
    """A running process, in a session of its own so that Ctrl-C reaches it only through us and in our order."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, offset: int) -> None:
        self._process = process
        self._log = log
        self._offset = offset
        self.pid = process.pid

    @classmethod
    async def spawn(
        cls, argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, keep_open: Sequence[int] = ()
    ) -> Self:
        """Start `argv` (an absolute path and arguments); stdout and stderr are appended to `log`.

        `keep_open` are file descriptors that the child inherits. Call it from the main thread: on Linux the child is
        killed when the thread that started it ends. Raises OSError when the log cannot be written.
        """
        _set_aside(log)
        # A file, never a pipe: an unread pipe stops its writer once it is full.
        with log.open("ab") as out:
            offset = out.tell()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                pass_fds=keep_open,
                start_new_session=True,
            )
        return cls(process, log, offset)

    @property
    def returncode(self) -> int | None:
        """Exit status, or minus the number of the signal that ended it; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Return its exit status once it has ended."""
        return await self._process.wait()

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL if it is still there after `grace` seconds; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):  # not wait_for, which can swallow a cancellation (python/cpython#86296)
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL for it and all of its session; returns when it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()

    def tail(self, lines: int = 10) -> str:
        """Return the last lines that it wrote, without empty ones; nothing when its log is gone."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(self._offset, self._log.stat().st_size - 10_000))
            text = file.read().decode(errors="replace")
            return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
        return ""


def _set_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
