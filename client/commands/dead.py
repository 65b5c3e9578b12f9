"""`stenobus dead`: list dead letters, and have them tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.api import list_dead, retry_dead, try_each
from client.errors import ServerError, UnavailableError
from client.reading import Json, read
from client.shell import EXIT_CODES, LOCAL, AsJson, Servers, complete_job, exit_on_failure, print_json, print_note
from client.view import one_line, when
from contract.view import DeadLetterView

MOST = 10_000
"""Dead letters that a server lists, at most."""

dead = typer.Typer(help="List messages that could not be used, and have them tried again.", no_args_is_help=True)


@dead.command("list", epilog=EXIT_CODES)
def listing(
    job: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many, the newest first.")] = 100,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """List dead letters, newest first.

    In a pipe each is a line with tabs: job, stream, number, time, worker (- where no attempt can help), reason.
    """
    _run(_show(servers, job, limit, as_json=as_json))


@dead.command(epilog=EXIT_CODES)
def retry(
    job: Annotated[str | None, typer.Argument(help="As listed.", autocompletion=complete_job)] = None,
    stream: Annotated[str | None, typer.Argument()] = None,
    seq: Annotated[int | None, typer.Argument(min=0)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that can be tried again; with JOB, those of that job.")
    ] = False,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Have a message tried again. Once that succeeds it is no longer listed."""
    if everything:
        if stream is not None:
            raise typer.BadParameter("with --all only JOB may be given")
        _run(_retry_all(servers, job, as_json=as_json))
    elif job is None or stream is None or seq is None:
        raise typer.BadParameter("give JOB STREAM SEQ, as listed, or --all")
    else:
        _run(_retry(servers, job, stream, seq, as_json=as_json))


async def _show(servers: Sequence[str], job: str | None, limit: int, *, as_json: bool) -> None:
    found = await _list(servers, job, limit)
    if as_json:
        for letter in found:
            print_json(letter)
    else:
        show(_read(found), Console(highlight=False))


async def _retry_all(servers: Sequence[str], job: str | None, *, as_json: bool) -> None:
    letters = _read(await _list(servers, job, MOST))
    refused = False
    for letter in letters:
        try:
            if letter.worker is not None:
                await _retry(servers, letter.job_id, letter.stream, letter.seq, as_json=as_json)
        except UnavailableError:
            raise
        except ServerError as exc:
            refused = True
            print_note(str(exc))
    if lost := sum(letter.worker is None for letter in letters):
        print_note(f"{lost} cannot be tried again: see `stenobus dead list`")
    if len(letters) == MOST:
        print_note(f"there may be more than these {MOST}: repeat the command once they are done")
    if refused:
        raise typer.Exit(ServerError.exit_code)


async def _retry(servers: Sequence[str], job: str, stream: str, seq: int, *, as_json: bool) -> None:
    _, asked = await try_each(servers, lambda server: retry_dead(server, job, stream, seq))
    if as_json:
        print_json(asked)
    else:
        typer.echo(f"will be tried again: {job} {stream} {seq}")


async def _list(servers: Sequence[str], job: str | None, limit: int) -> list[Json]:
    return (await try_each(servers, lambda server: list_dead(server, job, limit)))[1]


def _read(letters: Sequence[Json]) -> list[DeadLetterView]:
    return [read(DeadLetterView, letter, "dead letter") for letter in letters]


def show(letters: Sequence[DeadLetterView], console: Console) -> None:
    """Print dead letters: a table on a terminal, lines in a pipe."""
    if not console.is_terminal:
        for letter in letters:
            at = letter.at.isoformat(timespec="seconds")
            line = (letter.job_id, letter.stream, str(letter.seq), at, letter.worker or "-", letter.reason)
            typer.echo("\t".join(map(one_line, line)), console.file)
    elif letters:
        console.print(_table(letters))
    else:
        console.print("no dead letters")


def _table(letters: Sequence[DeadLetterView]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("Job", "Stream", "Seq", "When"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "Seq" else "left")
    table.add_column("Reason", overflow="fold", ratio=1)
    for letter in letters:
        reason = letter.reason if letter.worker else f"{letter.reason} (cannot be tried again)"
        cells = (letter.job_id, letter.stream, str(letter.seq), when(letter.at), reason)
        table.add_row(*(Text(one_line(cell), style="" if letter.worker else "dim") for cell in cells))
    return table


def _run(work: Coroutine[None, None, None]) -> None:
    with exit_on_failure():
        asyncio.run(work)
