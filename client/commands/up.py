"""Where a system on this machine keeps its data, and where its bus listens."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_BUS = "nats://127.0.0.1:4222"
_LISTENING = re.compile(rb"Listening for client connections on (\S+:\d+)")


def data_home() -> Path:
    """The folder that `stenobus up` takes unless it is told another."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "stenobus"


def find_bus(folders: Sequence[Path]) -> str:
    """The bus of the first system that runs here with one of these folders; else the address that NATS has by itself.

    Each start of a system takes a free port, and the log of its nats-server tells which.
    """
    for folder in folders:
        with suppress(OSError):
            found = _LISTENING.findall((folder / "logs" / "nats-server.log").read_bytes())
            url = f"nats://{found[-1].decode()}" if found else ""
            if url and listening(url):
                return url
    return DEFAULT_BUS


def listening(url: str, timeout: float = 0.5) -> bool:
    """Whether anybody listens at the host and port of an address."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout).close()
    except OSError:
        return False
    return True
