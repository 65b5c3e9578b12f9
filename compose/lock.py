"""One compose per data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compose.servers import StartError


@contextmanager
def locked(data: Path) -> Iterator[int]:
    """Hold the folder `data` (made if missing) for this process; raises StartError when another one has it.

    Gives a file descriptor to hand down to the servers: the kernel keeps the lock until the last of them is gone, so
    that a server which outlives a killed compose cannot meet a second one on the same files.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StartError(f"cannot keep data in {data}: it is not a folder") from None
    path = data / "compose.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
            raise StartError(
                f"{data} is in use by another compose (process {owner}, or a server that it left behind): "
                "stop that one, or choose another folder with --data"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield lock
    finally:
        os.close(lock)
