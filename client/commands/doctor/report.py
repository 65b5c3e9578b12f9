"""What a check has found, and how all checks are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rich.table import Table
from rich.text import Text

from client.view import one_line


class Verdict(StrEnum):
    """How bad it is: `warn` for what is optional."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_MARKS = {Verdict.OK: ("✓", "green"), Verdict.WARN: ("!", "yellow"), Verdict.FAIL: ("✗", "red")}


@dataclass(frozen=True)
class Check:
    """What was found, and what helps if it is not as it should be."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """It is as it should be."""
    return Check(name, Verdict.OK, found)


def warn(name: str, found: str, fix: str) -> Check:
    """It is missing, and optional."""
    return Check(name, Verdict.WARN, found, fix)


def fail(name: str, found: str, fix: str) -> Check:
    """It is missing, and needed."""
    return Check(name, Verdict.FAIL, found, fix)


def optional(checks: Iterable[Check]) -> list[Check]:
    """The same checks where these things are not needed: none of them fails."""
    return [replace(check, verdict=Verdict.WARN) if check.verdict is Verdict.FAIL else check for check in checks]


def table(checks: Sequence[Check]) -> Table:
    """Checks as a table for a terminal, with the fix below what is wrong."""
    drawn = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    drawn.add_column(no_wrap=True)
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold", ratio=1)
    for check in checks:
        mark, style = _MARKS[check.verdict]
        found = Text(one_line(check.found))
        if check.fix:
            found.append(f"\n→ {one_line(check.fix)}", style="cyan")
        drawn.add_row(Text(mark, style=style), Text(check.name), found)
    return drawn


def tabbed(check: Check) -> str:
    """A check as a line for a pipe."""
    return "\t".join(map(one_line, (check.verdict, check.name, check.found, check.fix)))
