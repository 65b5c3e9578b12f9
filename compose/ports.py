"""Which ports one can listen on."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nobody listens on, from below those that the kernel hands out to clients.

    From the kernel's range, a server that is started again could find that a client's end of a connection has its port.
    Raises OSError when one cannot listen on `host` at all.
    """
    refusal: OSError | None = None
    for port in random.sample(range(20_000, 32_000), 100):
        if (refusal := refused(host, port)) is None:
            return port
    raise refusal or OSError(f"no free port on {host}")


def refused(host: str, port: int) -> OSError | None:
    """Return why one cannot listen there; None when one can."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT is no obstacle
            sock.bind(address)
            sock.listen()
    except OSError as exc:
        return exc
    return None
