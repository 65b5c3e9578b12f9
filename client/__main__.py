"""The `stenobus` command line."""

from __future__ import annotations

import errno
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
from client.commands.up import up
from client.shell import EXIT_CODES, print_note

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

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
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(up)


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
    """Take the options before the name of a command."""


def main() -> None:
    """Run the command line."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us: a connection must not take its number
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - it stays open
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, TextIOWrapper):
            out.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "").strip("0") == "":
            os.environ.pop(name, None)  # rich would show nothing at all on a terminal of no columns
    try:
        try:
            app(prog_name="stenobus")
        finally:
            sys.stdout.flush()  # Python would do it too late for a sentence
    except OSError as exc:
        if exc.errno not in _UNWRITABLE:
            raise
        print_note(f"the output cannot be written: {os.strerror(exc.errno).lower()}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not tried once more
        sys.exit(1)


if __name__ == "__main__":
    main()
