"""A part of the benchmark that fails, hangs or dies is named, and what it had measured counts."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bench.gpu.phase import Phase, Plan, Tell, run

PLAN = Plan("cpu", "speech", "large")


def well(plan: Plan, tell: Tell) -> None:
    tell({"speech": plan.speech})
    tell({"set": os.environ["OF_THIS_PHASE"]})


def failing(_plan: Plan, tell: Tell) -> None:
    tell({"first": 1})
    raise RuntimeError("CUDA failed with error out of memory")


def dying(_plan: Plan, tell: Tell) -> None:
    tell({"first": 1})
    os.kill(os.getpid(), signal.SIGSEGV)


def hanging(_plan: Plan, tell: Tell) -> None:
    tell({"first": 1})
    time.sleep(3_600)


def test_a_phase_has_an_environment_of_its_own() -> None:
    assert run(well, PLAN, 60, {"OF_THIS_PHASE": "yes"}) == {"speech": "speech", "set": "yes"}
    assert "OF_THIS_PHASE" not in os.environ


@pytest.mark.parametrize(
    ("phase", "limit", "why"),
    [
        (failing, 60, "RuntimeError: CUDA failed with error out of memory"),
        (dying, 60, "its process ended with status -11"),
        (hanging, 8, "it took more than 8 s"),
    ],
)
def test_what_was_measured_before_counts(phase: Phase, limit: float, why: str) -> None:
    assert run(phase, PLAN, limit) == {"first": 1, "failed": why}
