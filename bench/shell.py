"""How a bench runs what takes long: a signal ends it in order, so that nothing that it has started stays behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_told(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end; raises CancelledError once it has cleaned up after SIGINT, SIGTERM or SIGHUP."""

    async def run() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in one
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    return asyncio.run(run())
