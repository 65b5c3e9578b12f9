"""`stenobus replay`: process the stored audio of jobs once more."""

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

from client.api import get_job, list_jobs, replay_job, try_each
from client.commands.jobs import pages, read_entries
from client.commands.stream import show_capture
from client.errors import ClientError, RefusedError, ServerError
from client.reading import JobPage
from client.session.capture import capture
from client.session.polling import follow_generation
from client.session.source import stored_audio
from client.shell import LOCAL, AnyJob, AsJson, Servers, exit_on_failure, print_json, print_note, read_since
from client.transcript import Transcript
from client.view import View, clean, count
from contract import SPEEDS

_AT_ONCE = 4
"""Jobs that are replayed at the same time, so that they do not all wait at the speech workers at once."""


class As(StrEnum):
    """What a replay makes."""

    GENERATION = "generation"
    JOB = "job"


def replay(
    job_id: AnyJob = None,
    speed: Annotated[str, typer.Option(metavar="SPEED", help="1: in real time; 2: twice as fast; max.")] = "max",
    model: Annotated[str | None, typer.Option(help="One of the speech models that the server offers.")] = None,
    language: Annotated[str | None, typer.Option(help="Whisper language code. Default: that of the job.")] = None,
    allowed: Annotated[
        list[str] | None,
        typer.Option("--allowed-language", help="Detect only this language; may be given several times."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that sets vocabulary and style.")] = None,
    hotwords: Annotated[str | None, typer.Option(help="Words that are likely to be said.")] = None,
    vad: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the segmenter, such as hangover_ms=400.")
    ] = None,
    become: Annotated[As, typer.Option("--as", help="Another generation of the job, or a job of its own.")] = (
        As.GENERATION
    ),
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="All jobs since 10m, 2h, 3d ago, or since a time.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Whether to wait for the transcript and show it.")
    ] = True,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Transcribe the stored audio of a job, or of all jobs since a time, once more.

    The existing transcript stays; the new one is another generation, and `diff` compares the two. Live jobs take
    precedence.
    """
    pace = read_speed(speed)
    start = _check(job_id, since, pace, become, wait=wait)
    given = {"model": model, "language": language, "prompt": prompt, "hotwords": hotwords}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if allowed:
        changes["allowed_languages"] = allowed
    if vad:
        changes["vad"] = read_vad(vad)
    with exit_on_failure():
        if start is not None:
            failed = asyncio.run(_replay_all(servers, start, {**changes, "speed": pace}, wait=wait, as_json=as_json))
            if failed:
                raise typer.Exit(ServerError.exit_code)
        elif job_id is not None and become is As.JOB:
            _as_job(servers, job_id, changes, fast=pace is None, as_json=as_json)
        elif job_id is not None:
            asyncio.run(_replay_one(servers, job_id, {**changes, "speed": pace}, wait=wait, as_json=as_json))


def read_speed(text: str) -> float | None:
    """Read a speed; None: as fast as possible. Raises BadParameter."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    slowest, fastest = SPEEDS
    if not slowest <= speed <= fastest:
        says = f"{text!r} is not a speed; accepted: max, or a number from {slowest:g} to {fastest:g}"
        raise typer.BadParameter(says, param_hint="--speed")
    return speed


def read_vad(given: Sequence[str]) -> dict[str, int | str]:
    """Read options of the segmenter; raises BadParameter. The server checks their names."""
    found: dict[str, int | str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, such as hangover_ms=400", param_hint="--vad")
        found[name] = int(value) if value.isascii() and value.isdigit() else value
    return found


def _check(job_id: str | None, since: str | None, pace: float | None, become: As, *, wait: bool) -> datetime | None:
    """Raise BadParameter for arguments that exclude each other; returns the time that `since` means."""
    if (job_id is None) == (since is None):
        raise typer.BadParameter("name a job, or give --since", param_hint="ID")
    if become is As.JOB:
        if since is not None:
            raise typer.BadParameter("--as job is for one job", param_hint="--as")
        if pace not in (None, 1.0):
            raise typer.BadParameter("a new job is sent with --speed 1 or max", param_hint="--speed")
        if not wait:
            raise typer.BadParameter(
                "a new job is sent from here: it cannot go on without this command", param_hint="--no-wait"
            )
    if since is None:
        return None
    try:
        start = read_since(since)
        return datetime.now(UTC) - start if isinstance(start, timedelta) else start
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(str(exc), param_hint="--since") from exc


async def _ask(servers: Sequence[str], job_id: str, body: Mapping[str, Any]) -> int:
    return (await try_each(servers, lambda server: replay_job(server, job_id, body)))[1]


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
        async with aclosing(follow_generation(servers, job_id, generation)) as messages:
            async for message in messages:
                if as_json:
                    print_json(message)
                elif message["type"] == "replayed":
                    view.segments(transcript.rest())
                    view.line(_described(message))
                else:
                    view.segments(transcript.feed(message))
    except (ClientError, asyncio.CancelledError):
        print_note(f"the server continues with generation {generation} of job {job_id}")
        raise


def _described(message: Mapping[str, Any]) -> str:
    segments = count(message["segments"], "segment")
    model = f", {message['model']}" if message.get("model") else ""
    return clean(f"generation {message['generation']}: {segments}{model}, job {message['job_id']}")


def _as_job(servers: list[str], job_id: str, changes: Mapping[str, Any], *, fast: bool, as_json: bool) -> None:
    """Send the stored audio as a new job."""
    index, record = asyncio.run(try_each(servers, lambda server: get_job(server, job_id)))
    options = options_for(record, changes)
    begin = partial(capture, servers, options=options, fast=fast)
    ended = threading.Event()
    audio = stored_audio(servers[index], job_id)
    asyncio.run(show_capture(begin, audio, servers, on_end=ended.set, as_json=as_json))


def options_for(record: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a stored job, changed, for a new job with its audio, which is 16 kHz PCM by now."""
    kept = dict(record.get("options") or {})
    for name in ("webhook_url", "sample_rate", "encoding"):  # the webhook was called when the job was completed
        kept.pop(name, None)
    vad = {**(kept.get("vad") or {}), **changes.get("vad", {})}
    return {**kept, **changes, "vad": vad, "source": "replay"}


async def _replay_all(
    servers: Sequence[str], since: datetime, body: Mapping[str, Any], *, wait: bool, as_json: bool
) -> int:
    """Replay all jobs since a time, the oldest first; returns how many could not be replayed."""
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
                    async with aclosing(follow_generation(servers, job_id, generation)) as messages:
                        async for last in messages:
                            message = last
                if as_json:
                    print_json(message)
                else:
                    typer.echo(_described(message) if wait else f"generation {generation}, job {job_id}")
            except RefusedError as exc:  # the audio of this one may be gone; the others go on
                failed += 1
                print_note(f"not replayed: {exc.detail}")
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
        print_note(f"{len(jobs) - failed} of {len(jobs)} jobs {'replayed' if wait else 'will be replayed'}")
    return failed


async def _stored_since(servers: Sequence[str], since: datetime) -> AsyncGenerator[str]:
    """The jobs since a time whose audio has ended, newest first."""

    async def ask(most: int, at: str | None) -> JobPage:
        return (await try_each(servers, lambda server: list_jobs(server, limit=most, cursor=at)))[1]

    async with aclosing(pages(ask, None, None)) as found:
        async for page in found:
            for entry in read_entries(page.jobs):
                if entry.created_at < since:
                    return
                if entry.state not in ("created", "streaming"):
                    yield entry.job_id
