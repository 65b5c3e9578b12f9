"""A part of the benchmark in a process of its own, which may fail, hang or lose the device without ending the rest."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import structlog

from processors.stt.whisper.models import Device

Tell = Callable[[dict[str, Any]], None]
"""Adds figures to those of the phase; what was told counts even if the phase fails later."""

Phase = Callable[["Plan", Tell], None]


@dataclass(frozen=True)
class Plan:
    """What is measured. speech: a model that understands the sentences; large: the one whose speed counts."""

    device: Device
    speech: str
    large: str
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Batches whose calls are timed."""
    flips: tuple[int, ...] = (2, 8, 16)
    """Batches whose texts are compared with those of utterances alone."""
    sentences: int = 55
    rounds: int = 3
    backlog: int = 128
    """Utterances that are there at once."""
    left: tuple[int, ...] = (1_024, 256, 64)
    """Megabytes that another program leaves."""
    streams: int = 64
    """Live streams to begin with."""
    most_streams: int = 2_048
    seconds: float = 12.0
    """Of a run of live streams."""
    bound: float = 1.0
    """Seconds of p95 latency up to which streams are held."""


def run(phase: Phase, plan: Plan, limit: float, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Its figures. `failed` says why there are not all of them: it raised something, died, or took `limit` seconds."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_be, args=(theirs, phase, plan, dict(env or {})))
    process.start()
    theirs.close()
    found: dict[str, Any] = {}
    until = monotonic() + limit
    try:
        while ours.poll(max(0.0, until - monotonic())):
            try:
                found |= ours.recv()
            except EOFError:
                break
        else:
            found["failed"] = f"it took more than {limit:.0f} s"
    finally:
        process.join(0 if "failed" in found else 5)
        if process.is_alive():
            process.kill()
            process.join()
    if process.exitcode and "failed" not in found:
        found["failed"] = f"its process ended with status {process.exitcode}"
    return found


def _be(pipe: Connection, phase: Phase, plan: Plan, env: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started us
    os.environ |= env
    sys.stdout = sys.stderr
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        phase(plan, pipe.send)
    except Exception as exc:  # noqa: BLE001 - the bench says so and goes on
        pipe.send({"failed": f"{type(exc).__name__}: {exc}"})
    sys.stderr.flush()
    os._exit(0)  # nothing of the device may hold it up
