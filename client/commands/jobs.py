"""`stenobus jobs`: the jobs of a server, newest first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, nullcontext
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.api import list_jobs, try_each
from client.errors import ServerError
from client.reading import JobEntry, JobPage, Json, read
from client.shell import LOCAL, AsJson, Servers, busy, exit_on_failure, print_json, print_note
from client.view import length, one_line, when

_PAGE = 200
"""Jobs that a server returns at a time, at most."""

Ask = Callable[[int, str | None], Awaitable[JobPage]]
"""Fetches at most so many jobs, from a cursor or the newest on."""


class ListedState(StrEnum):
    """States that jobs can be listed by; erased jobs are not listed."""

    CREATED = "created"
    STREAMING = "streaming"
    TRANSCRIBING = "transcribing"
    SUMMARIZING = "summarizing"
    COMPLETED = "completed"
    FAILED = "failed"


_STYLES: dict[str, str] = {"completed": "green", "failed": "red", "streaming": "cyan"}


def jobs(
    status: Annotated[
        list[ListedState] | None, typer.Option(help="Only jobs in this state; may be given several times.")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="Only jobs with all of these words in title, text or summary.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many jobs, the newest first.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All jobs.")] = False,
    cursor: Annotated[str | None, typer.Option(help="Continue an earlier list, which named its cursor.")] = None,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """List jobs, newest first.

    In a pipe each job is a line with tabs: id, time, state, seconds (- if not finished), title (- if none), first
    words.
    """
    states = ",".join(status or [])

    async def ask(most: int, at: str | None) -> JobPage:
        async def page(server: str) -> JobPage:
            return await list_jobs(server, limit=most, status=states, query=query, cursor=at)

        return (await try_each(servers, page))[1]

    with exit_on_failure():
        asyncio.run(_show(ask, None if everything else limit, cursor, as_json=as_json))


async def _show(ask: Ask, limit: int | None, cursor: str | None, *, as_json: bool) -> None:
    console = Console(highlight=False)
    rows: list[Json] = []
    searched = 0
    live = as_json and sys.stdout.isatty()  # then the jobs themselves show the progress
    with nullcontext(lambda _: None) if live else busy("looking for jobs") as progress:
        async with aclosing(pages(ask, limit, cursor)) as found:
            async for page in found:
                searched += page.searched
                progress(f"looking for jobs: {len(rows) + len(page.jobs)} in {searched}")
                cursor = page.next_cursor
                if as_json or not console.is_terminal:
                    _print(page.jobs, as_json=as_json)
                else:
                    rows += page.jobs
    if rows:
        console.print(table(read_entries(rows)))
    elif console.is_terminal and not as_json:
        console.print("no jobs")
    if cursor is not None:
        print_note(f"there are more: --cursor {cursor}, or --all")


async def pages(ask: Ask, limit: int | None, cursor: str | None) -> AsyncGenerator[JobPage]:
    """Yield pages until there are `limit` jobs, or no more. A page may be empty where a search takes long."""
    left = limit
    while left is None or left > 0:
        page = await ask(min(left or _PAGE, _PAGE), cursor)
        yield page
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise ServerError("the server sent a list of jobs that never ends")
        cursor = page.next_cursor
        left = None if left is None else left - len(page.jobs)


def read_entries(rows: Sequence[Json]) -> list[JobEntry]:
    """Read the jobs of a page; raises ServerError."""
    return [read(JobEntry, row, "job") for row in rows]


def _print(rows: Sequence[Json], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
    else:
        for entry in read_entries(rows):
            typer.echo(tabbed(entry))


def tabbed(job: JobEntry) -> str:
    """A job as a line for a pipe."""
    seconds = "-" if job.duration is None else f"{job.duration:g}"
    at = job.created_at.isoformat(timespec="seconds")
    return "\t".join(map(one_line, (job.job_id, at, job.state, seconds, job.title or "-", job.text)))


def table(entries: Sequence[JobEntry]) -> Table:
    """Jobs as a table for a terminal."""
    drawn = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("Id", "When", "State"):
        drawn.add_column(heading, no_wrap=True, overflow="fold" if heading == "Id" else "ellipsis")
    drawn.add_column("Length", no_wrap=True, justify="right")
    drawn.add_column("Title")
    for job in entries:
        # Only this cell is shortened where there is no room: rich narrows columns that may wrap first.
        title = Text(one_line(job.title or ""), style="bold", no_wrap=True, overflow="ellipsis")
        if words := one_line(job.text):
            title.append(f"  {words}" if title else words, style="not bold dim")
        state = Text(one_line(job.state), style=_STYLES.get(job.state, ""))
        drawn.add_row(Text(one_line(job.job_id)), when(job.created_at), state, length(job.duration), title)
    return drawn
