"""What a person sees of a capture or of a finished job, on a terminal or in a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from client.transcript import ActionItem, Partial, Segment, Summary, Transcript

_HELD_SHOWN = 3
_PARTIAL_LINES = 3
# Text comes from another machine, and from a language model: it must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def clock(seconds: float) -> str:
    """Give a time as mm:ss, from one hour on as h:mm:ss."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute:02}:{second:02}"


def clean(text: str) -> str:
    """Take the control characters out of foreign text; line breaks stay."""
    return _CONTROL.sub(" ", text).strip()


def damage_line(holes: Sequence[tuple[float, float]]) -> str:
    """Say how much of a file is missing; holes: start and length in seconds, at least one."""
    places = f"at {clock(holes[0][0])}" if len(holes) == 1 else f"in {len(holes)} places from {clock(holes[0][0])} on"
    return f"incomplete: {sum(length for _, length in holes):.1f} s are missing {places}; silence stands in for them"


def status_line(transcript: Transcript) -> str:
    """Say how the capture stands."""
    if transcript.kept is not None:
        return f"reconnecting, {transcript.kept:.1f} s of sound kept"
    lag = f" · {transcript.lag:.1f} s behind" if transcript.lag >= 0.1 else ""
    return f"{clean(transcript.state)}{lag} · {transcript.saved:.1f} s saved"


def sections(summary: Summary) -> list[tuple[str, list[str]]]:
    """Give the lists of a summary that are not empty, each with its heading."""
    lists = [
        ("Key points", summary.key_points),
        ("Decisions", summary.decisions),
        ("Action items", [_action(item) for item in summary.action_items]),
    ]
    return [(heading, [clean(item) for item in items]) for heading, items in lists if items]


def engine_line(summary: Summary) -> str:
    """Say what wrote a summary and, if that is no language model, why."""
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
        """Take a message of the server and show what it changes."""
        ready = self.transcript.feed(message)
        self._refresh()  # first, so that a final never stands above its own hypothesis
        self.segments(ready)

    def disconnected(self, kept: float) -> None:
        """Show that there is no connection at present; kept: seconds of sound that wait for one."""
        self.transcript.disconnected(kept)
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(_foot(self.transcript, self.console), refresh=True)

    def segments(self, segments: Iterable[Segment]) -> None:
        """Print finals, one below the other."""
        for segment in segments:
            if self._rich:
                said = Text(_said(segment), style="red" if segment.error else "")
                self.console.print(_row(Text(clock(segment.start), style="cyan"), said))
            else:
                self.line(f"{clock(segment.start)}  {_said(segment)}")

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

    def end(self) -> None:
        """Print the summary, if there is one, and how much it was."""
        known = self.transcript
        if known.summary is not None:
            self.summary(known.summary)
        segments = "1 segment" if known.segments == 1 else f"{known.segments} segments"
        self.line(f"{segments}, {known.saved:.1f} s of sound, job {known.job}")

    def line(self, text: str) -> None:
        """Print a line of our own as it is; in a pipe it is never wrapped."""
        self.console.print(Text(text), soft_wrap=not self._rich)


def _said(segment: Segment) -> str:
    speaker = f"{segment.speaker}: " if segment.speaker else ""
    text = segment.text.strip() or (f"[not transcribed: {segment.error}]" if segment.error else "")
    return clean(f"{speaker}{text}").replace("\n", " ")


def _row(mark: Text, text: Text) -> Table:
    """Lay text out behind a mark, its further lines below its first."""
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(mark, text)
    return row


def _foot(transcript: Transcript, console: Console) -> RenderableType:
    """What stands below the finals while the capture runs; at most a few lines, so that it never scrolls."""
    waiting = [f"{clock(segment.start)} {_said(segment)}" for segment in transcript.held[-_HELD_SHOWN:]]
    return Group(
        *(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in waiting),
        *([_hypothesis(transcript.partial, console)] if transcript.partial is not None else []),
        Text(f"● {status_line(transcript)}", style="green", no_wrap=True, overflow="ellipsis"),
    )


def _hypothesis(partial: Partial, console: Console) -> RenderableType:
    """Lay out what was understood so far as its final will be; of a long one the end, where it grows."""
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
