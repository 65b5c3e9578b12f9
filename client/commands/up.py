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

from contract.address import listed

_NATS_PORT = 4222
DEFAULT_BUS = f"nats://127.0.0.1:{_NATS_PORT}"
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
    """The folder for all data unless `--data` names another; of a user without a home it is `data` here."""
    if home := os.environ.get("XDG_DATA_HOME"):
        return Path(home) / "stenobus"
    try:
        return Path.home() / ".local" / "share" / "stenobus"
    except RuntimeError:
        return Path("data")


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


def is_listening(urls: str, timeout: float = 0.5) -> bool:
    """Whether a connection to one of the addresses in a setting succeeds; raises ValueError for one that is none."""
    for url in listed(urls):
        parts = urlsplit(url if "://" in url else f"//{url}")
        try:
            socket.create_connection((parts.hostname or "", parts.port or _NATS_PORT), timeout).close()
        except OSError:
            continue
        return True
    return False
