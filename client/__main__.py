"""The `stenobus` command: stream sound to a server, look at a job, or start a whole server here."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext, suppress
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from audio import AudioError
from client.api import Options, check_server, get_job, in_turn
from client.capture import capture
from client.connection import Message
from client.dead import dead
from client.errors import ClientError
from client.job import show_job
from client.retry import GIVE_UP_AFTER, Reconnecting
from client.source import in_thread, pcm
from client.transcript import Transcript
from client.view import View, clean, damage_line

_EXIT_CODES = (
    "Exit codes: 0 fine; 1 the server refused or failed; 2 wrong usage, or sound that cannot be read; "
    "3 the server cannot be reached; 130 interrupted."
)
_INTERRUPTED = 130

app = typer.Typer(
    name="stenobus",
    help="Live speech in, an exactly-once transcript and a summary out.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(dead, name="dead")


class Task(StrEnum):
    """What to do with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def _servers(values: list[str]) -> list[str]:
    try:
        servers = [check_server(url) for value in values for url in re.split(r"[\s,]+", value) if url]
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    return servers or LOCAL


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stenobus {version('stenobus')}")
        raise typer.Exit


Servers = Annotated[
    list[str],
    typer.Option(
        "--server", envvar="STENOBUS_URL", callback=_servers, help="Address of a server; may be given several times."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the server says as JSON, one object a line.")]
LOCAL = ["http://127.0.0.1:8000"]


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what stands before the name of a command."""


@app.command(epilog=_EXIT_CODES)
def stream(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Any audio file; - is stdin.")],
    servers: Servers = LOCAL,
    fast: Annotated[bool, typer.Option("--fast", help="As quick as the server takes it, not in real time.")] = False,
    as_json: AsJson = False,
    raw: Annotated[bool, typer.Option("--raw", help="The sound is bare samples: 16 kHz mono s16le.")] = False,
    language: Annotated[str | None, typer.Option(help="Whisper language code, as en or ko. Default: detected.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the meeting.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that sets vocabulary and style.")] = None,
    task: Annotated[Task, typer.Option(help="Write down as spoken, or in English.")] = Task.TRANSCRIBE,
    no_summary: Annotated[bool, typer.Option("--no-summary", help="Only the transcript.")] = False,
    frame_ms: Annotated[int, typer.Option(min=10, max=1_000, help="Length of a frame on the wire.")] = 30,
    give_up_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to try without a connection that gets anywhere.")
    ] = GIVE_UP_AFTER,
) -> None:
    """Stream sound to a server; show its transcript as it comes, then the summary.

    A connection that breaks is opened again, and sound is kept meanwhile: no word is lost or told twice.

    Ctrl-C ends the sound and waits for the rest; a second Ctrl-C leaves.
    """
    if file == "-" and sys.stdin.isatty():
        raise typer.BadParameter("stdin is a terminal: pipe sound into it, or name a file", param_hint="FILE")
    wanted = Options(language=language, title=title, prompt=prompt, task=task.value, summary=not no_summary)
    holes: list[tuple[float, float]] = []
    sound = pcm(file, lambda *hole: holes.append(hole), raw=raw)
    with _told():
        try:
            begin = partial(capture, servers, options=wanted, frame_ms=frame_ms, fast=fast, give_up_after=give_up_after)
            asyncio.run(_stream(begin, sound, servers, as_json=as_json))
        finally:
            if holes:
                _say(f"{'stdin' if file == '-' else file}: {damage_line(holes)}")


@app.command(epilog=_EXIT_CODES)
def job(
    job_id: Annotated[str, typer.Argument(metavar="ID")], servers: Servers = LOCAL, as_json: AsJson = False
) -> None:
    """Show a job: its state, its transcript and its summary."""
    with _told():
        _, record = asyncio.run(in_turn(servers, lambda server: get_job(server, job_id)))
        if as_json:
            _print_json(record)
        else:
            show_job(record, Console(highlight=False))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def up(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 picks a free one.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Folder for all data.  [default: stenobus in your data folder]")
    ] = None,
) -> None:
    """Start everything on this machine; any further arguments go to `python -m compose`."""
    # Parts are started by their short names: a folder of such a name where the user stands must not be taken for one.
    os.environ["PYTHONSAFEPATH"] = "1"
    arguments = ["--host", host, "--port", str(port), "--data", str(data or _data_home() / "stenobus"), *context.args]
    os.execv(sys.executable, [sys.executable, "-m", "compose", *arguments])  # noqa: S606 - this process becomes it


def main() -> None:
    """Run the command line."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, TextIOWrapper):
            out.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    app(prog_name="stenobus")


class _Session:
    """What Ctrl-C does: while sound goes out it ends the sound, at any other time it leaves."""

    def __init__(self) -> None:
        self.job: str | None = None
        self.stop = asyncio.Event()
        self._task = asyncio.current_task()
        with suppress(NotImplementedError):  # Windows: Ctrl-C leaves at once
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        if self.job is not None and not self.stop.is_set():
            self.stop.set()
            _say("no more sound; waiting for the rest (Ctrl-C again to leave)")
        elif self._task is not None:
            self._task.cancel()


async def _stream(
    begin: Callable[..., AsyncGenerator[Message, None]],
    sound: Iterator[bytes],
    servers: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Show what comes of `sound`; `begin`: `capture` with all that was chosen."""
    session = _Session()
    view = View(Console(highlight=False), Transcript())
    show: Callable[[Message], None] = _print_json if as_json else view.show

    def on_reconnect(away: Reconnecting) -> None:
        if as_json:
            _print_json({"type": "reconnecting", **asdict(away)}, err=True)
            return
        view.disconnected(away.kept)
        if away.attempt == 1:
            _say(f"reconnecting: {away.reason}")

    async with (
        aclosing(in_thread(sound)) as source,
        aclosing(begin(source=source, stop=session.stop, on_reconnect=on_reconnect)) as messages,
    ):
        try:
            with nullcontext() if as_json else view:
                async for message in messages:
                    if message["type"] == "connection_success":
                        session.job = message.get("job_id")
                    show(message)
        except (ClientError, asyncio.CancelledError):
            if session.job is not None:
                where = " ".join(f"--server {server}" for server in servers)
                _say(f"what became of the job: stenobus job {session.job} {where}")
            raise
    if not as_json:
        view.end()


@contextmanager
def _told() -> Iterator[None]:
    """Turn expected trouble into one sentence and an exit code."""
    try:
        yield
    except ClientError as exc:
        _say(str(exc))
        raise typer.Exit(exc.exit_code) from exc
    except AudioError as exc:
        _say(str(exc))
        raise typer.Exit(2) from exc
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        _say("interrupted")
        raise typer.Exit(_INTERRUPTED) from exc


def _say(sentence: str) -> None:
    sys.stderr.write(f"stenobus: {clean(sentence)}\n")  # which a live view catches, to write it above its status line
    sys.stderr.flush()


def _print_json(value: Message, *, err: bool = False) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False).encode(), err=err)


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


if __name__ == "__main__":
    main()
