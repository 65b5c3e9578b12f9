"""What the command lines of all benchmarks share: numbers within bounds, signals, and the JSON line at the end."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog


def within(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    """A `type` for argparse: a number from `least` to `most`."""

    def read(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return number

    return read


def numbers(text: str) -> tuple[int, ...]:
    """A `type` for argparse: numbers of streams with commas between, each once, in order."""
    read = within(int, 1, 4_096)
    return tuple(sorted({read(part) for part in text.split(",")}))


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


def report(name: str, bench: Callable[[], dict[str, Any]], *failures: type[Exception]) -> int:
    """Run a benchmark and print its result as one line of JSON; returns the exit status.

    That is 1, with one sentence on stderr, where it raises one of `failures`, and 130 where it was told to end.
    """
    try:
        found = bench()
    except failures as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    print(json.dumps(found))
    return 0


def log_to_stderr() -> None:
    """Log warnings and worse, and nothing of it to stdout."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
