"""Any program can use the contract: importing it loads no engine, no client of a server and no event loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import contract

MODULES = sorted(f"contract.{path.stem}" for path in Path(contract.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("module", ["contract", *MODULES])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    heavy = {"nats", "uvloop", "redis", "starlette", "numpy", "asyncio", "structlog"}
    program = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
