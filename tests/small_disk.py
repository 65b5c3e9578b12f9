"""A small disk of its own for a test that fills it: a tmpfs in a mount namespace, which needs no privilege on Linux."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_HOLD = "mount -t tmpfs -o size={size}m tmpfs /mnt && echo ready && exec cat"


@dataclass
class SmallDisk:
    """`path` is where it is mounted, for every process of this user."""

    path: Path

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free."""
        with (self.path / "filler").open("ab") as filler:
            room = shutil.disk_usage(self.path).free - leave
            if room > 0:
                filler.write(bytes(room))

    def make_room(self) -> None:
        """Free what `fill` has taken."""
        (self.path / "filler").unlink()


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """A disk of this size, gone at the end; skips the test where the kernel allows no namespace."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _HOLD.format(size=megabytes)]
    if shutil.which("unshare") is None:
        pytest.skip("a small disk needs unshare, which is part of util-linux")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        try:
            assert holder.stdout
            assert holder.stderr
            if holder.stdout.readline() != b"ready\n":
                pytest.skip(f"a small disk needs a mount namespace: {holder.stderr.read().decode().strip()}")
            yield SmallDisk(Path(f"/proc/{holder.pid}/root/mnt"))
        finally:
            holder.kill()
