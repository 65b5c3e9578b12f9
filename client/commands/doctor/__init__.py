"""`stenobus doctor`: what is missing on this machine or at a server, and how to get it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import typer
from rich.console import Console

from client.commands.doctor.report import Check, Verdict, optional, tabbed, table
from client.commands.up import data_home, find_bus
from client.shell import LOCAL, AsJson, Servers, busy, exit_on_failure, print_json


def doctor(context: typer.Context, as_json: AsJson = False, servers: Servers = LOCAL) -> None:
    """Check what is needed: what is missing, and how to get it. Exits with 1 if something is.

    With --server (or STENOBUS_URL) nothing is needed that only a server on this machine would need. In a pipe each
    check is a line with tabs: ok, warn or fail; name; what was found; what helps.
    """
    source = context.get_parameter_source("servers")
    named = source is not None and source.name != "DEFAULT"
    with exit_on_failure(), busy("checking"):
        checks = asyncio.run(examine(servers, named=named))
    console = Console(highlight=False)
    if as_json:
        for check in checks:
            print_json(asdict(check))
    elif console.is_terminal:
        console.print(table(checks))
    else:
        for check in checks:
            typer.echo(tabbed(check))
    if any(check.verdict is Verdict.FAIL for check in checks):
        raise typer.Exit(1)


async def examine(servers: Sequence[str], *, named: bool) -> list[Check]:
    """Make all checks, those of this machine first. named: somebody named the servers, so they run elsewhere."""
    from client.commands.doctor import machine, services  # not above: they load slowly, and completion has no time

    def here() -> list[Check]:
        return [
            machine.this_python(),
            machine.part("client"),
            machine.part("mic", needed=False),
            services.microphone(),
        ]

    local, remote, ollama, nats, redis, speech = await asyncio.gather(
        asyncio.to_thread(here),
        asyncio.gather(*(services.server(url, needed=named) for url in servers)),
        services.ollama(os.environ.get("OLLAMA_HOST", ""), os.environ.get("SUMMARY_MODEL") or "gemma3"),
        machine.nats(),
        machine.redis(),
        machine.speech(),
    )
    host, port = urlsplit(servers[0]).hostname or "127.0.0.1", urlsplit(servers[0]).port or 8000
    runs_here = any(check.name != "server" or check.verdict is Verdict.OK for check in remote[0])
    ports = [] if named or runs_here else [machine.port(host, port)]
    parts = [machine.part(extra) for extra in machine.SERVER]
    server = [*parts, nats, redis, *ports, machine.disk(data_home()), *speech]
    return [
        *local,
        *(optional(server) if named else server),
        ollama,
        *(check for checks in remote for check in checks),
        services.bus(os.environ.get("NATS_URL") or find_bus([data_home(), Path("data")])),
    ]
