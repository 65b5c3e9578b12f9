"""How much of the machine other programs take while something is measured."""

from __future__ import annotations

from time import monotonic

import psutil


class Neighbours:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._began = monotonic(), _busy(), _own()

    def cores(self) -> float:
        """Cores that others kept busy since, on average; children of ours that have not been waited for are others."""
        began, busy, own = self._began
        others = (_busy() - busy) - (_own() - own)
        return max(0.0, others / (monotonic() - began))


def _busy() -> float:
    times = psutil.cpu_times()
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # is in user, too
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - guest


def _own() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system
