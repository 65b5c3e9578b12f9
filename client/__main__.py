"""The `stenobus` command: its commands put together, and a whole server started here."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from client.commands.dead import dead
from client.commands.diff import diff
from client.commands.doctor import doctor
from client.commands.export import export
from client.commands.job import job
from client.commands.jobs import jobs
from client.commands.replay import replay
from client.commands.rm import rm
from client.commands.stream import stream
from client.commands.tail import tail
from client.commands.up import data_home
from client.shell import EXIT_CODES

app = typer.Typer(
    name="stenobus",
    help="Live speech in, an exactly-once transcript and a summary out.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (stream, jobs, job, export, replay, diff, rm, tail, doctor):
    app.command(epilog=EXIT_CODES)(command)
app.add_typer(dead, name="dead", epilog=EXIT_CODES)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stenobus {version('stenobus')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what stands before the name of a command."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def up(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 picks a free one.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Folder for all data.  [default: stenobus in your data folder]")
    ] = None,
) -> None:
    """Start everything on this machine; any further arguments go to `python -m compose`."""
    # Parts are started by their short names: a folder of such a name where the user stands must not be taken for one.
    os.environ["PYTHONSAFEPATH"] = "1"
    arguments = ["--host", host, "--port", str(port), "--data", str(data or data_home()), *context.args]
    os.execv(sys.executable, [sys.executable, "-m", "compose", *arguments])  # noqa: S606 - this process becomes it


def main() -> None:
    """Run the command line."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, TextIOWrapper):
            out.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    app(prog_name="stenobus")


if __name__ == "__main__":
    main()
