"""What the commands share: options, completion, output, and how a failure becomes a sentence and an exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from audio import AudioError
from client.api import check_server, list_jobs, try_each
from client.errors import ClientError
from client.reading import JobEntry, read
from client.view import clean, one_line, when

EXIT_CODES = (
    "Exit codes: 0 fine; 1 the server refused or failed, or something is missing; 2 wrong usage, or audio that "
    "cannot be read; 3 the server, or the bus, cannot be reached; 130 interrupted."
)
INTERRUPTED = 130
LOCAL = ["http://127.0.0.1:8000"]

COMPLETION_WITHIN = 1.0
"""Seconds that completion may take: somebody is waiting at a prompt."""

_OFFERED = 50
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_servers(values: list[str]) -> list[str]:
    """Read addresses, several in one value or none for this machine's; raises BadParameter."""
    try:
        return [check_server(url) for value in values for url in re.split(r"[\s,]+", value) if url] or LOCAL
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def complete_job(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs whose ids begin so, each with a description; none when anything is wrong."""
    try:
        servers = context.params.get("servers") or read_servers([os.environ.get("STENOBUS_URL", "")])
        jobs = asyncio.run(asyncio.wait_for(_newest(servers), COMPLETION_WITHIN))
    except (ClientError, typer.BadParameter, TimeoutError):
        return []
    return [(job.job_id, titled(job)) for job in jobs if job.job_id.startswith(incomplete)]


async def _newest(servers: list[str]) -> list[JobEntry]:
    _, page = await try_each(servers, lambda server: list_jobs(server, limit=_OFFERED, timeout=COMPLETION_WITHIN))
    return [read(JobEntry, job, "job") for job in page.jobs]


def titled(job: JobEntry) -> str:
    """Describe a job: its time, and its title or its first words."""
    return f"{when(job.created_at)} {one_line(job.title or job.text) or job.state}"


Servers = Annotated[
    list[str],
    typer.Option(
        "--server",
        envvar="STENOBUS_URL",
        callback=read_servers,
        help="Address of a server; may be given several times.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
JobId = Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_job)]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", autocompletion=complete_job)]
AnyJob = Annotated[str | None, typer.Argument(metavar="ID", autocompletion=complete_job)]


def read_since(text: str) -> datetime | timedelta:
    """Read a time, or how long ago it is; raises ValueError that says what is accepted. Without a zone it is local."""
    if re.fullmatch(r"(\d+(\.\d+)?[smhdw])+", text):
        try:
            parts = re.findall(r"([\d.]+)([smhdw])", text)
            return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
        except OverflowError as exc:
            raise ValueError(f"{text!r} is too long ago") from exc
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as exc:
        accepted = "accepted: how long ago, as 90s, 10m, 1h30m, 2d, or a time, as 2025-03-04T14:30"
        raise ValueError(f"{text!r} is not a time; {accepted}") from exc


@contextmanager
def exit_on_failure() -> Iterator[None]:
    """Turn expected failures into one sentence and an exit code."""
    try:
        yield
    except ClientError as exc:
        print_note(str(exc))
        raise typer.Exit(exc.exit_code) from exc
    except AudioError as exc:
        print_note(str(exc))
        raise typer.Exit(2) from exc
    except UnicodeEncodeError as exc:
        broken = next((text for text in sys.argv if text.encode(errors="replace").decode() != text), None)
        if broken is None:
            raise
        print_note(f"{broken!r} is not UTF-8, so it cannot be sent")  # unlike the name of a file, which may be anything
        raise typer.Exit(2) from exc
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        print_note("interrupted")
        raise typer.Exit(INTERRUPTED) from exc


def print_note(sentence: str) -> None:
    """Print a sentence that is not part of the result, to stderr."""
    sys.stderr.write(f"stenobus: {clean(sentence)}\n")  # a live view catches it and shows it above its status line
    sys.stderr.flush()


def print_json(value: Mapping[str, Any], *, err: bool = False) -> None:
    """Print an object as one line, in UTF-8 whatever the terminal's encoding."""
    typer.echo(json.dumps(value, ensure_ascii=False).encode(), err=err)


@contextmanager
def busy(what: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner on a terminal; the yielded function changes its text.

    Nothing else may be printed to the same terminal meanwhile.
    """
    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    # Not redirected: output to a file or a pipe must go there.
    shown = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    if not console.is_terminal or console.is_dumb_terminal:
        shown.disable = True
    with shown:
        task = shown.add_task(what, total=None)
        yield lambda text: shown.update(task, description=text)
