"""`stenobus jobs`: what a server has, newest first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, nullcontext
from typing import Annotated, Any

import typer
from rich.console import Console

from client.api import in_turn, list_jobs
from client.errors import ServerError
from client.listing import Page, State, read_listed, read_page, tabbed, table
from client.shell import LOCAL, AsJson, Servers, busy, print_json, say, told

_PAGE = 200
"""Jobs that a server gives at a time, at most."""

Ask = Callable[[int, str | None], Awaitable[Page]]
"""Gives at most so many jobs, behind a cursor or the newest."""


def jobs(
    status: Annotated[list[State] | None, typer.Option(help="Only in this state; may be given several times.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="Only where all of these words are in title, text or summary.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    cursor: Annotated[str | None, typer.Option(help="Go on where an earlier list ended, which said so.")] = None,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """List jobs, newest first.

    In a pipe each is a line of id, time, state, seconds (- if not finished), title (- if none) and first words, with
    tabs.
    """
    states = ",".join(status or [])

    async def ask(most: int, at: str | None) -> Page:
        async def page(server: str) -> dict[str, Any]:
            return await list_jobs(server, limit=most, status=states, query=query, cursor=at)

        return read_page((await in_turn(servers, page))[1])

    with told():
        asyncio.run(_show(ask, None if everything else limit, cursor, as_json=as_json))


async def _show(ask: Ask, limit: int | None, cursor: str | None, *, as_json: bool) -> None:
    console = Console(highlight=False)
    rows: list[dict[str, Any]] = []
    searched = 0
    live = as_json and sys.stdout.isatty()  # then the jobs themselves show how far it is
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
        console.print(table(read_listed(rows)))
    elif console.is_terminal and not as_json:
        console.print("no jobs")
    if cursor is not None:
        say(f"there are more: --cursor {cursor}, or --all")


async def pages(ask: Ask, limit: int | None, cursor: str | None) -> AsyncGenerator[Page, None]:
    """Yield pages until there are `limit` jobs, or all there are. A page may be empty where a search is long."""
    left = limit
    while left is None or left > 0:
        page = await ask(min(left or _PAGE, _PAGE), cursor)
        yield page
        if page.next_cursor is None:
            return
        if page.next_cursor == cursor:
            raise ServerError("the server gave a list of jobs that never ends")
        cursor = page.next_cursor
        left = None if left is None else left - len(page.jobs)


def _print(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
    else:
        for listed in read_listed(rows):
            typer.echo(tabbed(listed))
