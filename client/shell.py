"""What the commands share: their options, and how trouble becomes one sentence and an exit code."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from audio import AudioError
from client.api import check_server
from client.errors import ClientError
from client.view import clean

EXIT_CODES = (
    "Exit codes: 0 fine; 1 the server refused or failed, or something is missing; 2 wrong usage, or sound that "
    "cannot be read; 3 the server, or the bus, cannot be reached; 130 interrupted."
)
INTERRUPTED = 130
LOCAL = ["http://127.0.0.1:8000"]


def servers_of(values: list[str]) -> list[str]:
    """Read addresses, of which one value may hold several; none: the one on this machine. Raises BadParameter."""
    try:
        return [check_server(url) for value in values for url in re.split(r"[\s,]+", value) if url] or LOCAL
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


Servers = Annotated[
    list[str],
    typer.Option(
        "--server", envvar="STENOBUS_URL", callback=servers_of, help="Address of a server; may be given several times."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]


@contextmanager
def told() -> Iterator[None]:
    """Turn expected trouble into one sentence and an exit code."""
    try:
        yield
    except ClientError as exc:
        say(str(exc))
        raise typer.Exit(exc.exit_code) from exc
    except AudioError as exc:
        say(str(exc))
        raise typer.Exit(2) from exc
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from exc


def say(sentence: str) -> None:
    """Tell a person something that is not what was asked for."""
    sys.stderr.write(f"stenobus: {clean(sentence)}\n")  # which a live view catches, to write it above its status line
    sys.stderr.flush()


def print_json(value: Mapping[str, Any], *, err: bool = False) -> None:
    """Print an object as a line, in UTF-8 whatever the terminal has."""
    typer.echo(json.dumps(value, ensure_ascii=False).encode(), err=err)


@contextmanager
def busy(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal that something takes its time; what is given says how far it is.

    Nothing may be printed meanwhile to the same terminal.
    """
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    # Not redirected: what is printed to a file or a pipe meanwhile is to go there.
    shown = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    if not console.is_terminal or console.is_dumb_terminal:
        shown.disable = True
    with shown:
        task = shown.add_task(what, total=None)
        yield lambda text: shown.update(task, description=text)
