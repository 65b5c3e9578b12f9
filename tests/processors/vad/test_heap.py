from __future__ import annotations

import mmap
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from processors.vad.__main__ import keep_freed_memory
if {keep}: keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
sounds = [bytes([at]) * 200_000 for at in range(20)]
del sounds
before = faults()
for turn in range(50):
    sounds = [bytes([at]) * 200_000 for at in range(20)]
    del sounds
print(faults() - before)
"""


def faults(keep: bool) -> int:
    """Pages that the system had to provide for the same sounds, again and again."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_memory_that_was_freed_is_used_again() -> None:
    pages = 50 * 20 * 200_000 // mmap.PAGESIZE
    assert faults(keep=False) > pages // 2
    assert faults(keep=True) < pages // 20
