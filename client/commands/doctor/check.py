"""What a look at something has found. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is: `warn` for what one can do without."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what helps if it is not as it should be."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """It is as it should be."""
    return Check(name, Verdict.OK, found)


def warn(name: str, found: str, fix: str) -> Check:
    """It is missing, and one can do without."""
    return Check(name, Verdict.WARN, found, fix)


def fail(name: str, found: str, fix: str) -> Check:
    """It is missing and needed."""
    return Check(name, Verdict.FAIL, found, fix)


def spared(checks: Iterable[Check]) -> list[Check]:
    """The same for who does not need these things: nothing of them fails."""
    return [replace(check, verdict=Verdict.WARN) if check.verdict is Verdict.FAIL else check for check in checks]
