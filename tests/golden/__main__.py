"""Writes the golden files again, after an intended change of the contract: `python -m tests.golden`."""

from __future__ import annotations

from tests.golden.examples import FRAMES, FULL
from tests.golden.files import HERE, files

if __name__ == "__main__":
    wanted = files(FULL, FRAMES)
    for path in HERE.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (HERE / name).write_text(text)
