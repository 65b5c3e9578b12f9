"""Which parts there are, found by their folders: a new processor is started without an edit here."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from pathlib import Path

EDGE = "edge"


def processes(modules: Sequence[str], workers: int) -> dict[str, str]:
    """Return the module of each process by the process's name: one of each, and of the edge so many `workers`."""
    found = {module: module for module in modules}
    return found | {f"{EDGE}-{number}": EDGE for number in range(2, workers + 1)}


def discover(root: Path) -> list[str]:
    """Return what `python -m` starts: the edge, and each package below `root`/processors that has a `__main__.py`.

    Nothing is imported, so that what a part needs is looked for only in its own process.
    """
    processors = root / "processors"
    found = sorted(module.name for module in pkgutil.iter_modules([str(processors)]) if module.ispkg)
    return [EDGE, *(f"processors.{name}" for name in found if (processors / name / "__main__.py").is_file())]
