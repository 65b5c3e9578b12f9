"""`stenobus dead`: what a server could not use, and having it tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.api import call, in_turn
from client.completion import complete_job
from client.errors import ServerError, UnavailableError, broken
from client.listing import one_line, when
from client.shell import EXIT_CODES, LOCAL, AsJson, Servers, print_json, say, told

MOST = 10_000
"""Dead letters that a server lists at most."""

dead = typer.Typer(help="What a server could not use: list it, have it tried again.", no_args_is_help=True)


class DeadLetter(BaseModel):
    """A message that could not be used, as the server lists it; without a `worker` no attempt can help."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: str
    stream: str
    seq: int
    reason: str
    at: datetime
    worker: str | None = None


@dead.command("list", epilog=EXIT_CODES)
def listing(
    job: Annotated[str | None, typer.Option(metavar="ID", help="Only of this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many, the newest first.")] = 100,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """List dead letters, newest first.

    In a pipe each is a line of job, stream, number, time, worker (- where no attempt can help) and reason, with tabs.
    """
    _run(_show(servers, job, limit, as_json=as_json))


@dead.command(epilog=EXIT_CODES)
def retry(
    job: Annotated[str | None, typer.Argument(help="As listed.", autocompletion=complete_job)] = None,
    stream: Annotated[str | None, typer.Argument()] = None,
    seq: Annotated[int | None, typer.Argument(min=0)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that can be; with JOB, all of that job.")] = False,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Ask that a message be tried again. Once that has succeeded it is listed no more."""
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
        show(_parsed(found), Console(highlight=False))


async def _retry_all(servers: Sequence[str], job: str | None, *, as_json: bool) -> None:
    letters = _parsed(await _list(servers, job, MOST))
    refused = False
    for letter in letters:
        try:
            if letter.worker is not None:
                await _retry(servers, letter.job_id, letter.stream, letter.seq, as_json=as_json)
        except UnavailableError:
            raise
        except ServerError as exc:
            refused = True
            say(str(exc))
    if hopeless := sum(letter.worker is None for letter in letters):
        say(f"{hopeless} cannot be tried again: see `stenobus dead list`")
    if len(letters) == MOST:
        say(f"there may be more than these {MOST}: give the command again once they are done")
    if refused:
        raise typer.Exit(ServerError.exit_code)


async def _retry(servers: Sequence[str], job: str, stream: str, seq: int, *, as_json: bool) -> None:
    path = f"/api/v1/dead/{quote(job, safe='')}/{quote(stream, safe='')}/{seq}/retry"
    _, asked = await in_turn(servers, lambda server: call("POST", server, path))
    if as_json:
        print_json(asked)
    else:
        typer.echo(f"will be tried again: {job} {stream} {seq}")


async def _list(servers: Sequence[str], job: str | None, limit: int) -> list[Any]:
    query = urlencode({"limit": limit} | ({} if job is None else {"job": job}))
    _, answer = await in_turn(servers, lambda server: call("GET", server, f"/api/v1/dead?{query}"))
    found = answer.get("dead")
    if not isinstance(found, list):
        raise ServerError("the server does not speak like a Stenobus server: it gave no list of dead letters")
    return found


def _parsed(found: Sequence[Any]) -> list[DeadLetter]:
    try:
        return [DeadLetter.model_validate(letter) for letter in found]
    except ValidationError as exc:
        raise broken("dead letter", exc) from exc


def show(letters: Sequence[DeadLetter], console: Console) -> None:
    """Print dead letters: a table in a terminal, plain lines in a pipe."""
    if not console.is_terminal:
        for letter in letters:
            at = letter.at.isoformat(timespec="seconds")
            line = (letter.job_id, letter.stream, str(letter.seq), at, letter.worker or "-", letter.reason)
            typer.echo("\t".join(map(one_line, line)), console.file)
    elif letters:
        console.print(_table(letters))
    else:
        console.print("no dead letters")


def _table(letters: Sequence[DeadLetter]) -> Table:
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
    with told():
        asyncio.run(work)
