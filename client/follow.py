"""Events of the bus on a terminal, in a pipe, or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import structlog
import typer
from rich.console import Console
from rich.text import Text

from client.errors import UnreachableError
from client.events import STYLES, as_json_object, described
from client.listing import one_line
from client.shell import print_json
from stenobus import Event

_JOB_SHOWN = 8
_KIND_WIDTH = 10


async def show(events: AsyncGenerator[Event[Any], None], *, one_job: bool, as_json: bool) -> None:
    """Print events until they end; raises UnreachableError if there is no bus."""
    console = Console(highlight=False)
    put: Callable[[Event[Any]], None]
    if as_json:
        put = _json
    elif console.is_terminal:
        put = lambda event: console.print(coloured(event, one_job=one_job), soft_wrap=True)  # noqa: E731
    else:
        put = lambda event: typer.echo(tabbed(event))  # noqa: E731
    structlog.configure(
        processors=[_sentence],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        async with aclosing(events):
            async for event in events:
                put(event)
    except ConnectionError as exc:
        raise UnreachableError(f"{exc}; another bus is named with --bus or NATS_URL") from exc


def tabbed(event: Event[Any]) -> str:
    """An event as a line for a pipe."""
    at = event.time.isoformat(timespec="milliseconds")
    said = described(event.message)
    return "\t".join((at, "-" if event.seq is None else str(event.seq), event.message.job, one_line(event.kind), said))


def coloured(event: Event[Any], *, one_job: bool, now: datetime | None = None) -> Text:
    """An event as a line for a terminal; the job is left out where there is only one."""
    at = event.time.astimezone()
    today = at.date() == (now or datetime.now().astimezone()).date()
    line = Text(at.strftime("%H:%M:%S" if today else "%d %b %H:%M:%S"), style="cyan")
    if not one_job:
        line.append(f" {event.message.job[:_JOB_SHOWN]:{_JOB_SHOWN}}", style="not cyan dim")
    kind = one_line(event.kind)
    line.append(f" {kind:{_KIND_WIDTH}}", style=f"not cyan {STYLES.get(kind, '')}")
    return line.append(f" {described(event.message)}", style="default" if event.seq is not None else "default dim")


def _json(event: Event[Any]) -> None:
    print_json(as_json_object(event))


def _sentence(_logger: Any, _level: str, entry: Mapping[str, Any]) -> str:
    """What the bus logs, as the command tells of trouble."""
    facts = ", ".join(str(value) for name, value in entry.items() if name != "event")
    return f"stenobus: {one_line(str(entry['event']))}" + (f": {one_line(facts)}" if facts else "")
