"""Which ports one can listen on."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOOPBACK = "127.0.0.1"

_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to the client's end of a connection. From the kernel's range, a server that is
started again could find its port taken by a client."""

_BLOCK = 100
"""Ports that a process reserves at a time."""


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nobody listens on and that this function has never returned to a process that still runs.

    Raises OSError when one cannot listen on `host` at all, or no port is left.
    """
    for port in _reserved:
        refusal = refused(host, port)
        if refusal is None:
            return port
        if refusal.errno != errno.EADDRINUSE:
            raise refusal
    raise OSError(f"no free port on {host}")


def refused(host: str, port: int) -> OSError | None:
    """Return why one cannot listen there, as the edge does: on `::` also with IPv4; None when one can."""
    try:
        for address in (host, "0.0.0.0") if host == "::" else (host,):  # noqa: S104 - it was asked for
            found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
            family, kind, proto, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
            with socket.socket(family, kind, proto) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT is no obstacle
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(place)
                sock.listen()
    except OSError as exc:
        return exc
    except UnicodeError:
        return OSError(errno.EINVAL, "it is no name of a host")
    return None


def _reserve() -> Iterator[int]:
    """Yield each port at most once, from blocks that no other process of this user takes while this one runs."""
    folder = Path(tempfile.gettempdir()) / f"stenobus-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    blocks = list(_PORTS[::_BLOCK])
    random.shuffle(blocks)
    for first in blocks:
        lock = os.open(folder / str(first), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:  # the lock is held until the process ends
            yield from range(first, first + _BLOCK)


_reserved = _reserve()
