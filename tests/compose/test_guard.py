from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compose.child import GUARD


def guarded(parent: int, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(GUARD), str(parent), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_becomes_the_program() -> None:
    done = guarded(os.getpid(), sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(3)", "a b", "")
    assert (done.returncode, done.stdout) == (3, "['a b', '']\n")


@pytest.mark.parametrize("parent", [1, 2**22 + 1], ids=["init", "nobody"])
def test_it_does_not_start_for_a_parent_that_is_gone(parent: int) -> None:
    done = guarded(parent, sys.executable, "-c", "print('started')")
    assert (done.returncode, done.stdout) == (1, "")
