"""`stenobus tail`: what is asked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from client.commands.up import data_home, find_bus
from client.completion import AnyJob
from client.shell import AsJson, told
from client.times import read_since

DEFAULT = "events,partial"


def tail(
    job_id: AnyJob = None,
    kinds: Annotated[str, typer.Option(help="Which, with commas between: transcript,summary or live.")] = DEFAULT,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="First what was stored since 10m, 2h, 3d ago, or since a time. Default: now; of a job, its beginning.",
        ),
    ] = None,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQ", help="First what was stored behind that event.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Whether to go on with what comes.")] = True,
    as_json: AsJson = False,
    bus: Annotated[
        str | None,
        typer.Option(
            envvar="NATS_URL", metavar="URL", help="Address of the bus. Default: that of a system which runs here."
        ),
    ] = None,
) -> None:
    """Show what happens on the bus, of one job or of all, until Ctrl-C.

    Each stored event is shown once, also when the bus is away meanwhile. In a pipe each is a line of time, sequence (-
    if it is not stored), job, kind and what it says, with tabs.
    """
    # Not above: the bus takes a while to load, and a shell that completes a word has no time.
    from client.follow import show
    from stenobus import ACCEPTED, subscribe

    wanted = kinds.replace(",", " ").split()
    if unknown := [kind for kind in wanted if kind not in ACCEPTED]:
        raise typer.BadParameter(
            f"unknown: {', '.join(unknown)}; accepted: {', '.join(ACCEPTED)}", param_hint="--kinds"
        )
    try:
        start = read_since(since) if since else timedelta() if follow and job_id is None and after is None else None
        events = subscribe(
            *wanted,
            job=job_id,
            url=bus or find_bus([data_home(), Path("data")]),
            after=after,
            since=start,
            follow=follow,
            connect_within=2.0,
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    with told():
        asyncio.run(show(events, one_job=job_id is not None, as_json=as_json))
