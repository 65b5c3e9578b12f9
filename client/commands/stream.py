"""`stenobus stream`: sound to a server, its transcript as it comes, then the summary."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, nullcontext, suppress
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.api import Options
from client.errors import ClientError
from client.session.capture import capture
from client.session.connection import Message
from client.session.microphone import devices, microphone
from client.session.pacing import LIVE_MS, UPLOAD_MS
from client.session.retry import GIVE_UP_AFTER, Reconnecting
from client.session.source import in_thread, pcm
from client.shell import LOCAL, AsJson, Servers, print_json, say, told
from client.transcript import Transcript
from client.view import View, damage_line


class Task(StrEnum):
    """What to do with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def stream(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Any audio file; - is stdin.", show_default=False)
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="The microphone, until Ctrl-C, in place of a file.")] = False,
    device: Annotated[
        str | None, typer.Option(help="Which microphone: its number, or a part of its name. Default: the system's.")
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the microphones and exit.")] = False,
    servers: Servers = LOCAL,
    fast: Annotated[bool, typer.Option("--fast", help="As quick as the server takes it, not in real time.")] = False,
    as_json: AsJson = False,
    raw: Annotated[bool, typer.Option("--raw", help="The sound is bare samples: 16 kHz mono s16le.")] = False,
    language: Annotated[str | None, typer.Option(help="Whisper language code, as en or ko. Default: detected.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the meeting.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that sets vocabulary and style.")] = None,
    task: Annotated[Task, typer.Option(help="Write down as spoken, or in English.")] = Task.TRANSCRIBE,
    no_summary: Annotated[bool, typer.Option("--no-summary", help="Only the transcript.")] = False,
    frame_ms: Annotated[
        int | None,
        typer.Option(
            min=10,
            max=1_000,
            help="Milliseconds of sound in a message: fewer tell sooner, more cost the server less. "
            f"Default: {LIVE_MS}, with --fast {UPLOAD_MS}.",
            show_default=False,
        ),
    ] = None,
    give_up_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to try without a connection that gets anywhere.")
    ] = GIVE_UP_AFTER,
) -> None:
    """Stream sound to a server; show its transcript as it comes, then the summary.

    A connection that breaks is opened again, and sound is kept meanwhile: no word is lost or told twice.

    Ctrl-C ends the sound and waits for the rest; a second Ctrl-C leaves.
    """
    if list_devices:
        with told():
            _list_devices(as_json=as_json)
        return
    _check(file, mic=mic, device=device, fast=fast, raw=raw)
    wanted = Options(language=language, title=title, prompt=prompt, task=task.value, summary=not no_summary)
    holes: list[tuple[float, float]] = []
    lost: list[float] = []
    ended = threading.Event()
    if file is None:
        sound = microphone(device, lost.append, ended.is_set)
    else:
        sound = pcm(file, lambda *hole: holes.append(hole), raw=raw)
    with told():
        try:
            begin = partial(capture, servers, options=wanted, frame_ms=frame_ms, fast=fast, give_up_after=give_up_after)
            asyncio.run(show_capture(begin, sound, servers, on_end=ended.set, as_json=as_json))
        finally:
            if holes:
                say(f"{'stdin' if file == '-' else file}: {damage_line(holes)}")
            if lost:
                say(f"this machine was too busy to take {sum(lost):.1f} s of what the microphone heard")


def _check(file: str | None, *, mic: bool, device: str | None, fast: bool, raw: bool) -> None:
    """Raise BadParameter for what does not go together."""
    if file is None and not mic:
        raise typer.BadParameter("name a FILE, - for stdin, or give --mic", param_hint="FILE")
    if mic and file is not None:
        raise typer.BadParameter("give a FILE or --mic, not both", param_hint="--mic")
    if mic and (fast or raw):
        raise typer.BadParameter("--fast and --raw are for files, a microphone has its time", param_hint="--mic")
    if device is not None and not mic:
        raise typer.BadParameter("it names a microphone: give --mic too", param_hint="--device")
    if file == "-" and sys.stdin.isatty():
        raise typer.BadParameter("stdin is a terminal: pipe sound into it, or name a file", param_hint="FILE")


def _list_devices(*, as_json: bool) -> None:
    found = devices()
    console = Console(highlight=False)
    if as_json:
        for device in found:
            print_json(asdict(device))
    elif found:
        table = Table(box=None, padding=(0, 1, 0, 0))
        for heading in ("", "Name", "Channels", "Hz", ""):
            table.add_column(heading, justify="left" if heading == "Name" else "right")
        for device in found:
            row = (str(device.index), device.name, str(device.channels), str(device.rate))
            table.add_row(*map(Text, (*row, "default" if device.default else "")))
        console.print(table)
    else:
        say("there is no microphone here")
        raise typer.Exit(1)


class _Session:
    """What Ctrl-C does: while sound goes out it ends the sound, at any other time it leaves."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.job: str | None = None
        self.stop = asyncio.Event()
        self._on_end = on_end
        self._task = asyncio.current_task()
        with suppress(NotImplementedError):  # Windows: Ctrl-C leaves at once
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        if self.job is not None and not self.stop.is_set():
            self.stop.set()
            self._on_end()
            say("no more sound; waiting for the rest (Ctrl-C again to leave)")
        elif self._task is not None:
            self._task.cancel()


async def show_capture(
    begin: Callable[..., AsyncGenerator[Message, None]],
    sound: Iterator[bytes],
    servers: Sequence[str],
    *,
    on_end: Callable[[], None],
    as_json: bool,
) -> None:
    """Show what comes of `sound`.

    `begin`: `capture` with all that was chosen; `on_end`: called when no more sound is wanted.
    """
    session = _Session(on_end)
    view = View(Console(highlight=False), Transcript())
    show: Callable[[Message], None] = print_json if as_json else view.show

    def on_reconnect(away: Reconnecting) -> None:
        if as_json:
            print_json({"type": "reconnecting", **asdict(away)}, err=True)
            return
        view.disconnected(away.kept)
        if away.attempt == 1:
            say(f"reconnecting: {away.reason}")

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
                say(f"what became of the job: stenobus job {session.job} {where}")
            raise
    if not as_json:
        view.end()
