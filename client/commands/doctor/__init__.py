"""What is missing on this machine or at a server, and how to get it."""

from __future__ import annotations

import typer

from client.shell import LOCAL, AsJson, Servers


def doctor(context: typer.Context, as_json: AsJson = False, servers: Servers = LOCAL) -> None:
    """Look at what is needed: what is missing, and how to get it. Exits with 1 if something is.

    With --server (or STENOBUS_URL) nothing is needed that only a server on this machine would need. In a pipe each is a
    line of ok, warn or fail, its name, what was found and what helps, with tabs.
    """
    # Not above: it loads a lot, and a shell that completes a word has no time.
    from client.commands.doctor.command import run

    source = context.get_parameter_source("servers")
    run(servers, named=source is not None and source.name != "DEFAULT", as_json=as_json)
