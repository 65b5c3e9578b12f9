"""What a connection costs each contender in memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Contender = Literal["naive", "inprocess", "ours"]

TITLES: dict[Contender, str] = {
    "naive": "naive: await publish",
    "inprocess": "inprocess: no bus",
    "ours": "ours",
}
"""All contenders, and how a person reads them."""


@dataclass(frozen=True)
class Held:
    """Kilobytes of one connection. closed: how many connections a full stream ended."""

    idle: float
    stalled: float | None
    """None: no stream can be full, or connections do not live to see it."""
    closed: int = 0

    @property
    def excuse(self) -> str:
        """Why there is no figure for a full stream; empty where there is one."""
        if self.stalled is not None:
            return ""
        return f"a full stream ended {self.closed} connections" if self.closed else "there is no stream to be full"


def table(held: Mapping[Contender, Held]) -> str:
    """Lay the figures out for a person."""
    lines = [f"{'kB for each connection':24}{'idle':>9}{'stalled':>9}"]
    for contender, found in held.items():
        stalled = "-" if found.stalled is None else f"{found.stalled:.1f}"
        row = f"{TITLES[contender]:24}{found.idle:9.1f}{stalled:>9}"
        lines.append("  ".join(filter(None, [row, found.excuse])))
    return "\n".join(lines)


def summary(held: Mapping[Contender, Held]) -> dict[str, Any]:
    """The figures as one flat object: ours without a suffix."""
    found: dict[str, Any] = {}
    for contender, one in held.items():
        suffix = "" if contender == "ours" else f"_{contender}"
        found |= {
            f"idle_kb{suffix}": round(one.idle, 1),
            f"stalled_kb{suffix}": None if one.stalled is None else round(one.stalled, 1),
        }
    return found
