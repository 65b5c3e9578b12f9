"""`stenobus tail`: the events of the bus as they happen, on a terminal, in a pipe, or as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from client.commands.up import data_home, find_bus
from client.errors import UnreachableError
from client.shell import AnyJob, AsJson, exit_on_failure, print_json, read_since
from client.view import clock, count, one_line
from contract import (
    KINDS,
    RATE,
    Attached,
    Closed,
    Completed,
    Dead,
    Message,
    Opened,
    Partial,
    Progress,
    Redrive,
    Redriven,
    Replay,
    Replayed,
    Segmented,
    Speaking,
    Summary,
    Transcript,
)

if TYPE_CHECKING:
    from stenobus import Event

DEFAULT = "events,partial"
_JOB_WIDTH = 8
_KIND_WIDTH = 10

_ACCEPTED = ("events", "live", *KINDS)
_STYLES = {
    "transcript": "green",
    "summary": "magenta",
    "completed": "bold green",
    "replay": "yellow",
    "dead": "bold red",
    "redrive": "yellow",
    "redriven": "yellow",
}


def tail(
    job_id: AnyJob = None,
    kinds: Annotated[str, typer.Option(help="Which kinds, separated by commas: transcript,summary or live.")] = DEFAULT,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Begin with events since 10m, 2h, 3d ago, or since a time. Default: now, or the beginning of ID.",
        ),
    ] = None,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQ", help="Begin with events stored after this one.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Whether to wait for new events.")] = True,
    as_json: AsJson = False,
    bus: Annotated[
        str | None,
        typer.Option(
            envvar="NATS_URL", metavar="URL", help="Address of the bus. Default: that of a system on this machine."
        ),
    ] = None,
) -> None:
    """Show the events of the bus, of one job or of all, until Ctrl-C.

    Each stored event is shown once, even if the bus goes away meanwhile. In a pipe each event is a line with tabs:
    time, sequence (- if it is not stored), job, kind, text.
    """
    from stenobus import subscribe  # not above: it loads slowly, and completion has no time

    wanted = kinds.replace(",", " ").split()
    if unknown := [kind for kind in wanted if kind not in _ACCEPTED]:
        accepted = ", ".join(_ACCEPTED)
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; accepted: {accepted}", param_hint="--kinds")
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
    with exit_on_failure():
        asyncio.run(_show(events, one_job=job_id is not None, as_json=as_json))


async def _show(events: AsyncGenerator[Event[Any]], *, one_job: bool, as_json: bool) -> None:
    """Print events until they end; raises UnreachableError if there is no bus."""
    import structlog  # not above, as stenobus

    console = Console(highlight=False)
    show: Callable[[Event[Any]], None]
    if as_json:
        show = lambda event: print_json(as_json_object(event))  # noqa: E731
    elif console.is_terminal:
        show = lambda event: console.print(coloured(event, one_job=one_job), soft_wrap=True)  # noqa: E731
    else:
        show = lambda event: typer.echo(tabbed(event))  # noqa: E731
    structlog.configure(
        processors=[_log_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        async with aclosing(events):
            async for event in events:
                show(event)
    except ConnectionError as exc:
        raise UnreachableError(f"{exc}; name another bus with --bus or NATS_URL") from exc


def _log_line(_logger: Any, _level: str, entry: Mapping[str, Any]) -> str:
    """A log entry of the bus as a sentence of this command."""
    facts = ", ".join(str(value) for name, value in entry.items() if name != "event")
    return f"stenobus: {one_line(str(entry['event']))}" + (f": {one_line(facts)}" if facts else "")


def tabbed(event: Event[Any]) -> str:
    """An event as a line for a pipe."""
    at = event.time.isoformat(timespec="milliseconds")
    seq = "-" if event.seq is None else str(event.seq)
    return "\t".join((at, seq, event.message.job, one_line(event.kind), described(event.message)))


def coloured(event: Event[Any], *, one_job: bool, now: datetime | None = None) -> Text:
    """An event as a line for a terminal; the job is left out where there is only one."""
    at = event.time.astimezone()
    today = at.date() == (now or datetime.now().astimezone()).date()
    line = Text(at.strftime("%H:%M:%S" if today else "%d %b %H:%M:%S"), style="cyan")
    if not one_job:
        line.append(f" {event.message.job[:_JOB_WIDTH]:{_JOB_WIDTH}}", style="not cyan dim")
    kind = one_line(event.kind)
    style = _STYLES.get(kind, "blue" if event.seq is not None else "dim") if kind in KINDS else ""
    line.append(f" {kind:{_KIND_WIDTH}}", style=f"not cyan {style}")
    return line.append(f" {described(event.message)}", style="default" if event.seq is not None else "default dim")


def as_json_object(event: Event[Any]) -> dict[str, Any]:
    """An event as JSON, with the fields of its message as the contract names them."""
    return {
        "time": event.time.isoformat(timespec="milliseconds"),
        "seq": event.seq,
        "kind": event.kind,
        "job": event.message.job,
        "message": _fields(event.message),
    }


def _fields(message: Message) -> dict[str, Any]:
    """The fields as they were published; `rest`, which `stenobus.Other` adds, is the subject of an unknown kind."""
    known = type(message) in KINDS.values()
    return message.model_dump(mode="json", exclude=None if known else {"rest"})


def described(message: Message) -> str:
    """An event in one line without control characters."""
    return one_line(_text(message))


def _text(message: Message) -> str:
    match message:
        case Opened(options=options):
            return ", ".join(filter(None, (options.title, options.language, options.source)))
        case Closed(samples=samples, reason=reason):
            return f"{_seconds(samples)}, {reason}"
        case Segmented(segments=segments, samples=samples) | Completed(segments=segments, samples=samples):
            return f"{count(segments, 'segment')}, {_seconds(samples)}"
        case Transcript(index=index, start=start, text=text, error=error, generation=generation):
            prefix = f"generation {generation} " if generation > 1 else ""
            return f"{prefix}#{index} {_clock(start)} {text or (f'[not transcribed: {error}]' if error else '')}"
        case Replay(generation=generation, speed=speed, options=options):
            pace = "as fast as possible" if speed is None else f"at {speed:g} times the speed"
            return ", ".join(filter(None, (f"generation {generation}", pace, options.model, options.language)))
        case Replayed(generation=generation, segments=segments, samples=samples):
            return f"generation {generation}, {count(segments, 'segment')}, {_seconds(samples)}"
        case Summary(title=title, summary=summary):
            return f"{title}: {summary}" if title else summary
        case Dead(stream=stream, seq=seq, reason=reason):
            return f"{stream} {seq}: {reason}"
        case Redrive(worker=worker, stream=stream, seq=seq) | Redriven(worker=worker, stream=stream, seq=seq):
            return f"{stream} {seq} by {worker}"
        case Partial(index=index, start=start, text=text):
            return f"#{index} {_clock(start)} {text}"
        case Speaking(index=index, start=start, end=end):
            return f"#{index} {_clock(start)} {_seconds(end - start)}"
        case Progress(heard=heard, segments=segments):
            return f"{_seconds(heard)} segmented, {count(segments, 'segment')}"
        case Attached(claim=claim):
            return f"claim {claim}"
    fields = _fields(message)
    fields.pop("job", None)
    return json.dumps(fields, ensure_ascii=False)


def _seconds(samples: int) -> str:
    return f"{samples / RATE:.1f} s"


def _clock(samples: int) -> str:
    return clock(samples / RATE)
