"""`stenobus stream`: send audio to a server, show the transcript as it comes, then the summary."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, nullcontext, suppress
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audio import CHANNELS, Taken, channels, read_channel
from client.errors import ClientError
from client.reading import Json
from client.session.capture import capture
from client.session.microphone import devices, microphone
from client.session.outgoing import LIVE_MS, UPLOAD_MS
from client.session.retry import GIVE_UP_AFTER, Reconnecting
from client.session.source import Choice, Findings, in_thread, pcm
from client.shell import LOCAL, AsJson, Servers, exit_on_failure, print_json, print_note
from client.transcript import Transcript
from client.view import View, damage_line, taken_line

EACH = "each"

_MOST_TITLE = 200
"""Characters of a job's title."""


class Task(StrEnum):
    """What to do with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def _read_channel(text: str) -> str:
    try:
        return text if text == EACH else read_channel(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def stream(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Any audio file; - is stdin.", show_default=False)
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="The microphone, until Ctrl-C, instead of a file.")] = False,
    device: Annotated[
        str | None, typer.Option(help="Which microphone: its number or a part of its name. Default: the system's.")
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the microphones and exit.")] = False,
    servers: Servers = LOCAL,
    fast: Annotated[bool, typer.Option("--fast", help="Upload a recording, not in real time.")] = False,
    as_json: AsJson = False,
    raw: Annotated[bool, typer.Option("--raw", help="The input is raw samples: 16 kHz mono s16le.")] = False,
    track: Annotated[
        int | None,
        typer.Option(min=1, help="Which audio track of the file. Default: the one marked default, if it has sound."),
    ] = None,
    channel: Annotated[
        str, typer.Option(callback=_read_channel, help=f"Which channel of the file: {CHANNELS}. each: a job for each.")
    ] = "mix",
    language: Annotated[
        str | None, typer.Option(help="Whisper language code, such as en or ko. Default: detected.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the meeting.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that sets vocabulary and style.")] = None,
    task: Annotated[
        Task, typer.Option(help="Text in the spoken language, or translated into English.")
    ] = Task.TRANSCRIBE,
    no_summary: Annotated[bool, typer.Option("--no-summary", help="Only the transcript.")] = False,
    frame_ms: Annotated[
        int | None,
        typer.Option(
            min=10,
            max=1_000,
            help="Milliseconds of audio in a message: fewer mean less delay, more cost the server less. "
            f"Default: {LIVE_MS}, with --fast {UPLOAD_MS}.",
            show_default=False,
        ),
    ] = None,
    give_up_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to try without progress.")
    ] = GIVE_UP_AFTER,
) -> None:
    """Stream audio to a server; show the transcript as it comes, then the summary.

    A broken connection is opened again and audio is kept meanwhile: no word is lost or shown twice.

    Ctrl-C ends the audio and waits for the rest; a second Ctrl-C exits.
    """
    if list_devices:
        with exit_on_failure():
            _list_devices(as_json=as_json)
        return
    _check(file, mic=mic, device=device, fast=fast, raw=raw, choice=Choice(track, channel))
    given = {"language": language, "title": title, "prompt": prompt, "task": task.value, "summary": not no_summary}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if fast and file != "-":
        options["source"] = "upload"  # nobody waits for single segments of a recording
    begin = partial(capture, servers, frame_ms=frame_ms, fast=fast, give_up_after=give_up_after)
    with exit_on_failure():
        if file is None:
            _stream_microphone(device, partial(begin, options=options), servers, as_json=as_json)
            return
        known: set[str] = set()
        for each in channels(file, track) if channel == EACH else [channel]:
            if channel == EACH:
                options["title"] = f"{title or Path(file).name} ({each})"[-_MOST_TITLE:]
                if not as_json:
                    typer.echo(f"Channel {each}")
            choice = Choice(track, each)
            if not _stream_file(file, choice, begin, options, servers, known, raw=raw, as_json=as_json):
                return


def _stream_microphone(
    device: str | None, begin: Callable[..., AsyncGenerator[Json]], servers: Sequence[str], *, as_json: bool
) -> None:
    lost: list[float] = []
    ended = threading.Event()
    audio = microphone(device, lost.append, ended.is_set)
    try:
        asyncio.run(show_capture(begin, audio, servers, on_end=ended.set, as_json=as_json))
    finally:
        if lost:
            print_note(f"this machine was too busy, or suspended: {sum(lost):.1f} s from the microphone were lost")


def _stream_file(
    file: str,
    choice: Choice,
    begin: Callable[..., AsyncGenerator[Json]],
    options: Mapping[str, Any],
    servers: Sequence[str],
    known: set[str],
    *,
    raw: bool,
    as_json: bool,
) -> bool:
    """Make one job of a file; False if it was ended early. known: the sentences that were printed already."""
    name = "stdin" if file == "-" else file

    def tell(sentence: str) -> None:
        if sentence not in known:
            known.add(sentence)
            print_note(f"{name}: {sentence}")

    given = dict(options)  # read when the job is created, when the first chunk is there

    def take(taken: Taken) -> None:
        if taken.tracks > 1 or taken.channels > 1:
            given["metadata"] = {"audio": asdict(taken)}

    findings = Findings(tell, take)
    ended = threading.Event()
    audio = pcm(file, findings, choice, raw=raw)
    try:
        capturing = partial(begin, options=given)
        asyncio.run(show_capture(capturing, audio, servers, options=given, on_end=ended.set, as_json=as_json))
    finally:
        if findings.holes:
            tell(damage_line(findings.holes))
    return not ended.is_set()


def _check(file: str | None, *, mic: bool, device: str | None, fast: bool, raw: bool, choice: Choice) -> None:
    """Raise BadParameter for arguments that exclude each other."""
    if file is None and not mic:
        raise typer.BadParameter("name a FILE, - for stdin, or give --mic", param_hint="FILE")
    if mic and file is not None:
        raise typer.BadParameter("give a FILE or --mic, not both", param_hint="--mic")
    if mic and (fast or raw):
        raise typer.BadParameter("--fast and --raw are for files", param_hint="--mic")
    if choice != Choice():
        if mic or raw:
            raise typer.BadParameter("--track and --channel are for files", param_hint="--mic" if mic else "--raw")
        if choice.channel == EACH and file == "-":
            raise typer.BadParameter("stdin can be read only once: name a file", param_hint="--channel each")
    if device is not None and not mic:
        raise typer.BadParameter("it names a microphone: give --mic too", param_hint="--device")
    if file == "-" and sys.stdin.isatty():
        raise typer.BadParameter("stdin is a terminal: pipe audio into it, or name a file", param_hint="FILE")


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
        print_note("there is no microphone here")
        raise typer.Exit(1)


class _Interrupt:
    """Handles Ctrl-C: while audio is sent it ends the audio, at any other time it cancels the command."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.job: str | None = None
        self.stop = asyncio.Event()
        self._on_end = on_end
        self._task = asyncio.current_task()
        with suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread: Ctrl-C exits at once
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._on_signal)

    def _on_signal(self) -> None:
        if self.job is not None and not self.stop.is_set():
            self.stop.set()
            self._on_end()
            print_note("no more audio; waiting for the rest (Ctrl-C again to exit)")
        elif self._task is not None:
            self._task.cancel()


async def show_capture(
    begin: Callable[..., AsyncGenerator[Json]],
    audio: Iterator[bytes],
    servers: Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
    on_end: Callable[[], None],
    as_json: bool,
) -> None:
    """Capture `audio` and show the messages.

    `begin`: `capture` with its options; `options`: these, if they say what was taken of a file; `on_end`: called when
    no more audio is wanted.
    """
    interrupt = _Interrupt(on_end)
    view = View(Console(highlight=False), Transcript())
    show: Callable[[Json], None] = print_json if as_json else view.show

    def on_reconnect(outage: Reconnecting) -> None:
        if as_json:
            print_json({"type": "reconnecting", **asdict(outage)}, err=True)
            return
        view.disconnected(outage.kept)
        if outage.attempt == 1:
            print_note(f"reconnecting: {outage.reason}")

    async with (
        aclosing(in_thread(audio)) as source,
        aclosing(begin(source=source, stop=interrupt.stop, on_reconnect=on_reconnect)) as messages,
    ):
        try:
            with nullcontext() if as_json else view:
                async for message in messages:
                    if message["type"] == "connection_success":
                        interrupt.job = message.get("job_id")
                    show(message)
        except (ClientError, asyncio.CancelledError):
            if interrupt.job is not None:
                where = " ".join(f"--server {server}" for server in servers)
                print_note(f"to see the job: stenobus job {interrupt.job} {where}")
            raise
    if not as_json:
        view.end(taken_line(options or {}))
