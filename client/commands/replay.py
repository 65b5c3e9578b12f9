"""`stenobus replay`: stored jobs through today's processors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from client.api import get_job, in_turn, list_jobs, replay_job
from client.commands.jobs import pages
from client.commands.stream import show_capture
from client.completion import AnyJob
from client.errors import ClientError, RefusedError, ServerError
from client.listing import Page, State, read_listed, read_page
from client.session.capture import capture
from client.session.polling import as_before, follow, stored_sound
from client.shell import LOCAL, AsJson, Servers, print_json, say, told
from client.times import read_since
from client.transcript import Transcript
from client.view import View, clean

_AT_ONCE = 4
"""Jobs that are under way at the same time, so that their sound is not all waiting at the speech workers at once."""


class As(StrEnum):
    """What becomes of the sound."""

    GENERATION = "generation"
    JOB = "job"


def replay(
    job_id: AnyJob = None,
    speed: Annotated[str, typer.Option(metavar="SPEED", help="1: as it was said; 2: twice as fast; max.")] = "max",
    model: Annotated[str | None, typer.Option(help="Speech model, of those that the server offers.")] = None,
    language: Annotated[str | None, typer.Option(help="Whisper language code. Default: as the job.")] = None,
    allowed: Annotated[
        list[str] | None, typer.Option("--allowed-language", help="Detect only this; may be given several times.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that sets vocabulary and style.")] = None,
    hotwords: Annotated[str | None, typer.Option(help="Words that are likely to be said.")] = None,
    vad: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="How speech is cut, as hangover_ms=400.")
    ] = None,
    become: Annotated[As, typer.Option("--as", help="Another transcript of the job, or a job of its own.")] = (
        As.GENERATION
    ),
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="All jobs since 10m, 2h, 3d ago, or since a time.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to show what comes of it.")] = True,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Have the stored sound of a job, or of all since a time, transcribed once more, and show it as it comes.

    The transcript that there is stays; the new one is another generation, which `diff` compares with it. What is live
    comes first.
    """
    pace = speed_of(speed)
    start = _check(job_id, since, pace, become, wait=wait)
    given = {"model": model, "language": language, "prompt": prompt, "hotwords": hotwords}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if allowed:
        changes["allowed_languages"] = allowed
    if vad:
        changes["vad"] = vad_of(vad)
    with told():
        if start is not None:
            failed = asyncio.run(_replay_all(servers, start, {**changes, "speed": pace}, wait=wait, as_json=as_json))
            if failed:
                raise typer.Exit(ServerError.exit_code)
        elif job_id is not None and become is As.JOB:
            _as_job(servers, job_id, changes, fast=pace is None, as_json=as_json)
        elif job_id is not None:
            asyncio.run(_replay_one(servers, job_id, {**changes, "speed": pace}, wait=wait, as_json=as_json))


def speed_of(text: str) -> float | None:
    """Read a speed; None: as fast as it is taken. Raises BadParameter."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"{text!r} is no speed; accepted: max, or a number above 0", param_hint="--speed")
    return speed


def vad_of(given: Sequence[str]) -> dict[str, int | str]:
    """Read options of the segmenter; raises BadParameter. Which there are the server knows."""
    found: dict[str, int | str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as hangover_ms=400", param_hint="--vad")
        found[name] = int(value) if value.isascii() and value.isdigit() else value
    return found


def _check(job_id: str | None, since: str | None, pace: float | None, become: As, *, wait: bool) -> datetime | None:
    """Raise BadParameter for what does not go together; gives the time from which on all jobs are meant."""
    if (job_id is None) == (since is None):
        raise typer.BadParameter("name a job, or give --since", param_hint="ID")
    if become is As.JOB:
        if since is not None:
            raise typer.BadParameter("--as job is for one job", param_hint="--as")
        if pace not in (None, 1.0):
            raise typer.BadParameter("a new job is sent with --speed 1 or max", param_hint="--speed")
        if not wait:
            raise typer.BadParameter("a new job is sent from here: there is nothing to leave", param_hint="--no-wait")
    if since is None:
        return None
    try:
        start = read_since(since)
        return datetime.now(UTC) - start if isinstance(start, timedelta) else start
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(str(exc), param_hint="--since") from exc


async def _ask(servers: Sequence[str], job_id: str, body: Mapping[str, Any]) -> int:
    return (await in_turn(servers, lambda server: replay_job(server, job_id, dict(body))))[1]


async def _replay_one(
    servers: Sequence[str], job_id: str, body: Mapping[str, Any], *, wait: bool, as_json: bool
) -> None:
    generation = await _ask(servers, job_id, body)
    if as_json:
        print_json({"type": "replay", "job_id": job_id, "generation": generation})
    elif not wait:
        typer.echo(f"generation {generation} of job {job_id}: stenobus diff {job_id} --generations 1,{generation}")
    if not wait:
        return
    transcript = Transcript()
    view = View(Console(highlight=False), transcript)
    try:
        async with aclosing(follow(servers, job_id, generation)) as messages:
            async for message in messages:
                if as_json:
                    print_json(message)
                elif message["type"] == "replayed":
                    view.segments(transcript.rest())
                    view.line(_described(message))
                else:
                    view.segments(transcript.feed(message))
    except (ClientError, asyncio.CancelledError):
        say(f"it goes on: generation {generation} of job {job_id}")
        raise


def _described(message: Mapping[str, Any]) -> str:
    segments = "1 segment" if message["segments"] == 1 else f"{message['segments']} segments"
    model = f", {message['model']}" if message.get("model") else ""
    return clean(f"generation {message['generation']}: {segments}{model}, job {message['job_id']}")


def _as_job(servers: list[str], job_id: str, changes: Mapping[str, Any], *, fast: bool, as_json: bool) -> None:
    """Send the stored sound as a new job."""
    index, record = asyncio.run(in_turn(servers, lambda server: get_job(server, job_id)))
    options = as_before(record, changes)
    begin = partial(capture, servers, options=options, fast=fast)
    ended = threading.Event()
    sound = stored_sound(servers[index], job_id)
    asyncio.run(show_capture(begin, sound, servers, on_end=ended.set, as_json=as_json))


async def _replay_all(
    servers: Sequence[str], since: datetime, body: Mapping[str, Any], *, wait: bool, as_json: bool
) -> int:
    """Replay all jobs since a time, the oldest first; gives how many could not be."""
    jobs = [job_id async for job_id in _stored_since(servers, since)]
    room, failed = asyncio.Semaphore(_AT_ONCE), 0
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    async def one(job_id: str) -> None:
        nonlocal failed
        async with room:
            try:
                generation = await _ask(servers, job_id, body)
                message: dict[str, Any] = {"type": "replay", "job_id": job_id, "generation": generation}
                if wait:
                    async with aclosing(follow(servers, job_id, generation)) as messages:
                        async for told_last in messages:
                            message = told_last
                if as_json:
                    print_json(message)
                else:
                    typer.echo(_described(message) if wait else f"generation {generation}, job {job_id}")
            except RefusedError as exc:  # its sound is gone, or it has gone on: the others have not
                failed += 1
                say(f"not replayed: {exc.detail}")
            shown.advance(task)

    with shown:
        task = shown.add_task("", total=len(jobs))
        replaying = [asyncio.create_task(one(job_id)) for job_id in reversed(jobs)]
        try:
            await asyncio.gather(*replaying)
        finally:
            for each in replaying:
                each.cancel()
            await asyncio.gather(*replaying, return_exceptions=True)
    if not as_json:
        say(f"{len(jobs) - failed} of {len(jobs)} jobs {'replayed' if wait else 'will be replayed'}")
    return failed


async def _stored_since(servers: Sequence[str], since: datetime) -> AsyncGenerator[str, None]:
    """The jobs since a time whose sound has ended, newest first."""

    async def ask(most: int, at: str | None) -> Page:
        return read_page((await in_turn(servers, lambda server: list_jobs(server, limit=most, cursor=at)))[1])

    async with aclosing(pages(ask, None, None)) as found:
        async for page in found:
            for listed in read_listed(page.jobs):
                if listed.created_at < since:
                    return
                if listed.state not in (State.CREATED, State.STREAMING):
                    yield listed.job_id
