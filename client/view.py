"""How a capture or a finished job is shown, on a terminal or in a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from client.reading import Summary
from client.transcript import Transcript
from contract import ActionItem
from contract.socket import SocketPartial
from contract.view import SegmentView

_HELD_SHOWN = 3
_PARTIAL_LINES = 3
# Text comes from another machine and from a language model: it must not control the terminal.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def clock(seconds: float) -> str:
    """A time as mm:ss, from one hour on as h:mm:ss."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute:02}:{second:02}"


def clean(text: str) -> str:
    """Replace the control characters of foreign text, except line breaks."""
    return _CONTROL.sub(" ", text).strip()


def one_line(text: str) -> str:
    """Foreign text without control characters and line breaks."""
    return " ".join(clean(text).split())


def when(at: datetime) -> str:
    """A time in the local zone, for a table."""
    return at.astimezone().strftime("%d %b %H:%M")


def length(duration: float | None) -> str:
    """A job's length; a dash where it is not known yet."""
    return "-" if duration is None else clock(duration)


def count(number: int, noun: str) -> str:
    """A number and its noun, such as `1 segment` and `2 segments`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def damage_line(holes: Sequence[tuple[float, float]]) -> str:
    """How much of a file is missing; holes: start and length in seconds, at least one."""
    places = f"at {clock(holes[0][0])}" if len(holes) == 1 else f"in {len(holes)} places from {clock(holes[0][0])} on"
    return f"incomplete: {sum(size for _, size in holes):.1f} s are missing {places}, replaced by silence"


def taken_line(options: Mapping[str, Any]) -> str:
    """Which track and channel of a file a job's options say were taken; empty if there was one only."""
    match options.get("metadata"):
        case {
            "audio": {"track": int(track), "tracks": int(tracks), "channel": str(channel), "channels": int(channels)}
        }:
            parts = [f"track {track} of {tracks}"] if tracks > 1 else []
            if channels > 1:
                parts.append(f"mix of {channels} channels" if channel == "mix" else f"channel {channel} of {channels}")
            return clean(", ".join(parts))
    return ""


def status_line(transcript: Transcript) -> str:
    """The state of a capture in one line."""
    if transcript.kept is not None:
        return f"reconnecting, {transcript.kept:.1f} s of audio kept"
    if transcript.trouble is not None:
        return f"waiting, {transcript.saved:.1f} s saved: {one_line(transcript.trouble)}"
    lag = f" · {transcript.lag:.1f} s behind" if transcript.lag >= 0.1 else ""
    return f"{clean(transcript.state)}{lag} · {transcript.saved:.1f} s saved"


def sections(summary: Summary) -> list[tuple[str, list[str]]]:
    """The lists of a summary that are not empty, each with its heading."""
    lists = [
        ("Key points", summary.key_points),
        ("Decisions", summary.decisions),
        ("Action items", [_action(item) for item in summary.action_items]),
    ]
    return [(heading, [clean(item) for item in items]) for heading, items in lists if items]


def engine_line(summary: Summary) -> str:
    """What wrote a summary and, if that was no language model, why."""
    parts = [f"Engine: {summary.engine}", summary.model, summary.reason]
    return clean(", ".join(part for part in parts if part)).replace("\n", " ")


def _action(item: ActionItem) -> str:
    who = f"{item.who}: " if item.who else ""
    due = f" (due {item.due})" if item.due else ""
    return f"{who}{item.what}{due}"


class View:
    """Shows segments as they come above a status line, then the summary; plain lines where there is no terminal."""

    def __init__(self, console: Console, transcript: Transcript) -> None:
        self.console = console
        self.transcript = transcript
        self._rich = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if self._rich else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.segments(self.transcript.rest())
        if self._live is not None:
            self._live.stop()

    def show(self, message: Mapping[str, Any]) -> None:
        """Show what a message of the server changes."""
        ready = self.transcript.feed(message)
        self._refresh()  # first, or a final would appear above its own hypothesis
        self.segments(ready)

    def disconnected(self, kept: float) -> None:
        """Show that there is no connection; kept: seconds of audio in the backlog."""
        self.transcript.disconnected(kept)
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(_foot(self.transcript, self.console), refresh=True)

    def segments(self, segments: Iterable[SegmentView]) -> None:
        """Print finals, each below the one before."""
        for segment in segments:
            if self._rich:
                text = Text(_text(segment), style="red" if segment.error else "")
                self.console.print(_row(Text(clock(segment.start), style="cyan"), text))
            else:
                self.line(f"{clock(segment.start)}  {_text(segment)}")

    def summary(self, summary: Summary) -> None:
        """Print a summary: a panel, or plain lines."""
        if self._rich:
            self.console.print(_panel(summary))
            return
        self.line(f"\n{clean(summary.title) or 'Summary'}")
        self.line(clean(summary.summary))
        for heading, items in sections(summary):
            self.line(f"\n{heading}")
            for item in items:
                self.line(f"- {item}")
        self.line(f"\n{engine_line(summary)}")

    def end(self, taken: str = "") -> None:
        """Print the summary, if there is one, and the totals; taken: as by `taken_line`."""
        known = self.transcript
        if known.summary is not None:
            self.summary(known.summary)
        totals = [count(known.segments, "segment"), f"{known.saved:.1f} s of audio", f"job {known.job}", taken]
        self.line(", ".join(filter(None, totals)))

    def line(self, text: str) -> None:
        """Print a line without markup; in a pipe it is never wrapped."""
        self.console.print(Text(text), soft_wrap=not self._rich)


def _text(segment: SegmentView) -> str:
    text = segment.text.strip() or (f"[not transcribed: {segment.error}]" if segment.error else "")
    return clean(text).replace("\n", " ")


def _row(mark: Text, text: Text) -> Table:
    """Lay text out behind a mark, with a hanging indent."""
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(mark, text)
    return row


def _foot(transcript: Transcript, console: Console) -> RenderableType:
    """What is shown below the finals during a capture; only a few lines, so that it never scrolls."""
    waiting = [f"{clock(segment.start)} {_text(segment)}" for segment in transcript.held[-_HELD_SHOWN:]]
    return Group(
        *(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in waiting),
        *([_hypothesis(transcript.partial, console)] if transcript.partial is not None else []),
        Text(f"● {status_line(transcript)}", style="green", no_wrap=True, overflow="ellipsis"),
    )


def _hypothesis(partial: SocketPartial, console: Console) -> RenderableType:
    """Lay interim text out as its final will be; of a long text only the end, where it grows."""
    mark = Text(clock(partial.start), style="dim")
    text = Text(clean(partial.text).replace("\n", " "), style="dim")
    lines = text.wrap(console, max(1, console.width - len(mark) - 4))
    shown = list(lines[-_PARTIAL_LINES:])
    if len(lines) > _PARTIAL_LINES:
        shown[0] = Text("… ", style="dim").append_text(shown[0])
    return _row(mark, Text("\n").join(shown))


def _panel(summary: Summary) -> Panel:
    body: list[RenderableType] = [Text(clean(summary.summary))]
    for heading, items in sections(summary):
        body += [Text(f"\n{heading}", style="bold"), *(_row(Text("•"), Text(item)) for item in items)]
    body.append(Text(f"\n{engine_line(summary)}", style="dim"))
    return Panel(Group(*body), title=Text(clean(summary.title) or "Summary", style="bold"), title_align="left")
