"""An event of the bus as a line. Pure."""

from __future__ import annotations

import json
from typing import Any

from audio import RATE
from client.listing import one_line
from client.view import clock
from stenobus import (
    Attached,
    Closed,
    Completed,
    Dead,
    Event,
    Message,
    Opened,
    Other,
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

STYLES = {
    "opened": "blue",
    "closed": "blue",
    "segmented": "blue",
    "transcript": "green",
    "summary": "magenta",
    "completed": "bold green",
    "replay": "yellow",
    "replayed": "blue",
    "dead": "bold red",
    "redrive": "yellow",
    "redriven": "yellow",
    "partial": "dim",
    "speaking": "dim",
    "progress": "dim",
    "attached": "dim",
}
"""How a kind looks in a terminal; others are plain."""


def as_json_object(event: Event[Any]) -> dict[str, Any]:
    """An event as JSON: when it was stored, its sequence, and its message as the contract names its fields."""
    message = event.message.model_dump(mode="json", exclude={"rest"} if isinstance(event.message, Other) else None)
    return {
        "time": event.time.isoformat(timespec="milliseconds"),
        "seq": event.seq,
        "kind": event.kind,
        "job": event.message.job,
        "message": message,
    }


def described(message: Message) -> str:
    """What an event says, in one line without control characters."""
    return one_line(_said(message))


def _said(message: Message) -> str:
    match message:
        case Opened(options=options):
            facts = (options.title, options.language, options.source)
            return ", ".join(fact for fact in facts if fact)
        case Closed(samples=samples, reason=reason):
            return f"{_seconds(samples)}, {reason}"
        case Segmented(segments=segments, samples=samples) | Completed(segments=segments, samples=samples):
            return f"{_segments(segments)}, {_seconds(samples)}"
        case Transcript(index=index, start=start, text=text, error=error, generation=generation):
            again = f"generation {generation} " if generation > 1 else ""
            return f"{again}#{index} {_clock(start)} {text or (f'[not transcribed: {error}]' if error else '')}"
        case Replay(generation=generation, speed=speed, options=options):
            pace = "as fast as it is taken" if speed is None else f"at {speed:g} times its pace"
            return ", ".join(filter(None, (f"generation {generation}", pace, options.model, options.language)))
        case Replayed(generation=generation, segments=segments, samples=samples):
            return f"generation {generation}, {_segments(segments)}, {_seconds(samples)}"
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
            return f"{_seconds(heard)} heard, {_segments(segments)}"
        case Attached(claim=claim):
            return f"claim {claim}"
    fields = message.model_dump(mode="json", exclude={"job", "rest"})
    return json.dumps(fields, ensure_ascii=False)


def _segments(number: int) -> str:
    return "1 segment" if number == 1 else f"{number} segments"


def _seconds(samples: int) -> str:
    return f"{samples / RATE:.1f} s"


def _clock(samples: int) -> str:
    return clock(samples / RATE)
