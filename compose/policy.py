"""When a process that died is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff that forgives after a long run; all in seconds."""

    first: float = 0.25
    longest: float = 30.0
    healthy: float = 60.0
    """A run as long as this clears what went before it."""

    def failures(self, before: int, ran: float) -> int:
        """Failures in a row, counting a run that has just ended after `ran` seconds."""
        return 1 if ran >= self.healthy else before + 1

    def pause(self, failures: int) -> float:
        """Time to wait after so many failures in a row (at least 1)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
