"""`stenobus doctor`: everything looked at, as a table, as lines or as JSON."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.commands.doctor import machine, packages, services
from client.commands.doctor.check import Check, Verdict, spared
from client.commands.up import data_home, find_bus
from client.listing import one_line
from client.shell import busy, print_json, told

_MARKS = {Verdict.OK: ("✓", "green"), Verdict.WARN: ("!", "yellow"), Verdict.FAIL: ("✗", "red")}


def run(servers: Sequence[str], *, named: bool, as_json: bool) -> None:
    """Look at everything and tell; exits with 1 if something needed is missing.

    named: somebody named the servers, and so needs nothing that only a server on this machine does.
    """
    with told(), busy("looking"):
        checks = asyncio.run(examine(servers, named=named))
    console = Console(highlight=False)
    if as_json:
        for check in checks:
            print_json(asdict(check))
    elif console.is_terminal:
        console.print(table(checks))
    else:
        for check in checks:
            typer.echo("\t".join(map(one_line, (check.verdict, check.name, check.found, check.fix))))
    if any(check.verdict is Verdict.FAIL for check in checks):
        raise typer.Exit(1)


async def examine(servers: Sequence[str], *, named: bool) -> list[Check]:
    """All checks, those of this machine first."""
    here, at, ollama, nats, redis, speech = await asyncio.gather(
        asyncio.to_thread(_here),
        asyncio.gather(*(services.server(url, needed=named) for url in servers)),
        services.ollama(os.environ.get("OLLAMA_HOST", ""), os.environ.get("SUMMARY_MODEL") or "gemma3"),
        machine.nats(),
        machine.redis(),
        machine.speech(),
    )
    host, port = urlsplit(servers[0]).hostname or "127.0.0.1", urlsplit(servers[0]).port or 8000
    runs_here = any(check.name != "server" or check.verdict is Verdict.OK for check in at[0])
    ports = [] if named or runs_here else [machine.port(host, port)]
    parts = [packages.part(extra) for extra in packages.SERVER]
    server = [*parts, nats, redis, *ports, machine.disk(data_home()), *speech]
    return [
        *here,
        *(spared(server) if named else server),
        ollama,
        *(check for checks in at for check in checks),
        services.bus(os.environ.get("NATS_URL") or find_bus([data_home(), Path("data")])),
    ]


def _here() -> list[Check]:
    return [
        packages.this_python(),
        packages.part("client"),
        packages.part("mic", optional=True),
        services.microphone(),
    ]


def table(checks: Sequence[Check]) -> Table:
    """Checks as a terminal shows them: what helps stands below what is wrong."""
    drawn = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    drawn.add_column(no_wrap=True)
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold", ratio=1)
    for check in checks:
        mark, style = _MARKS[check.verdict]
        found = Text(one_line(check.found))
        if check.fix:
            found.append(f"\n→ {one_line(check.fix)}", style="cyan")
        drawn.add_row(Text(mark, style=style), Text(check.name), found)
    return drawn
