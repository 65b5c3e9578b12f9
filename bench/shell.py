"""How a bench runs what takes long: a signal ends it in order, and stdout is for the figures alone."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

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


def log_to_stderr() -> None:
    """Log warnings and worse, and nothing of it to stdout."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
