"""`stenobus up`: a whole system on this machine, where it keeps its data, and where its bus listens."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

DEFAULT_BUS = "nats://127.0.0.1:4222"
_LISTENING = re.compile(rb"Listening for client connections on (\S+:\d+)")


def up(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 picks a free one.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Folder for all data.  [default: stenobus in your data folder]")
    ] = None,
) -> None:
    """Start everything on this machine; any further arguments go to `python -m compose`."""
    # Parts are started by their short names: a folder of such a name in the current directory must not be imported.
    os.environ["PYTHONSAFEPATH"] = "1"
    arguments = ["--host", host, "--port", str(port), "--data", str(data or data_home()), *context.args]
    os.execv(sys.executable, [sys.executable, "-m", "compose", *arguments])  # noqa: S606 - replaces this process


def data_home() -> Path:
    """The folder for all data unless `--data` names another."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "stenobus"


def find_bus(folders: Sequence[Path]) -> str:
    """The address of a bus that runs here with its data in one of these folders; else the default of NATS.

    Each start takes a free port, which the log of nats-server names.
    """
    for folder in folders:
        with suppress(OSError):
            found = _LISTENING.findall((folder / "logs" / "nats-server.log").read_bytes())
            url = f"nats://{found[-1].decode()}" if found else ""
            if url and is_listening(url):
                return url
    return DEFAULT_BUS


def is_listening(url: str, timeout: float = 0.5) -> bool:
    """Whether a connection to the host and port of an address succeeds."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout).close()
    except OSError:
        return False
    return True
