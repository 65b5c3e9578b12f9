"""What a webhook is sent, and what its answer means. Pure: no I/O in this file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic_core import to_json

from contract import RATE, Completed, JobOptions, Message, Summary, Transcript

LONGEST_WAIT = 60.0
"""Seconds; a receiver that asks for more is asked again after this."""

_SHORTEST_WAIT = 1.0

_PASSING = {408, 425, 429}
"""Request Timeout, Too Early, Too Many Requests: the only 4xx (RFC 9110, 8470, 6585) that say "later", not "no"."""


def payload(options: JobOptions, completed: Completed, events: Iterable[Message]) -> dict[str, Any]:
    """A finished job as clients see it: times in seconds, segments 0 to n - 1.

    Each part has the shape that it has in the edge's `final_summary` and in `GET /api/v1/jobs/{id}`.
    """
    segments: dict[int, Transcript] = {}
    summary: Summary | None = None
    for event in events:
        match event:
            case Transcript(generation=1):
                segments[event.index] = event
            case Summary():
                summary = event
    ordered = [segments.get(index) or _unreadable(completed.job, index) for index in range(completed.segments)]
    texts = (segment.text.strip() for segment in ordered)
    return {
        "type": "job_completed",
        "job_id": completed.job,
        "metadata": options.metadata,
        "duration": _seconds(completed.samples),
        "segments": [_segment(segment) for segment in ordered],
        "transcript": "\n".join(text for text in texts if text),
        "summary": summary.model_dump(exclude={"job"}) if summary else None,
    }


def _segment(transcript: Transcript) -> dict[str, Any]:
    segment: dict[str, Any] = {
        "index": transcript.index,
        "start": _seconds(transcript.start),
        "end": _seconds(transcript.end),
        "text": transcript.text,
        "language": transcript.language,
        "confidence": round(transcript.confidence, 4),
        "words": [
            {
                "word": word.word,
                "start": _seconds(word.start),
                "end": _seconds(word.end),
                "probability": round(word.probability, 4),
            }
            for word in transcript.words
        ],
    }
    return segment | ({"error": transcript.error} if transcript.error else {})


def _unreadable(job: str, index: int) -> Transcript:
    return Transcript(job=job, index=index, start=0, end=0, text="", error="its transcript cannot be read")


def _seconds(samples: int) -> float:
    return round(samples / RATE, 3)


def encode(body: dict[str, Any]) -> bytes:
    """JSON in UTF-8; a number in the metadata that JSON does not have becomes null."""
    return to_json(body, inf_nan_mode="null")


def signature(secret: str, body: bytes) -> str:
    """Value of the header `Stenobus-Signature`: HMAC-SHA256 of the body as sent, under the shared secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def may_pass(status: int) -> bool:
    """Whether the same request may be answered otherwise later."""
    return status >= 500 or status in _PASSING


def wait(retry_after: str | None, now: datetime) -> float | None:
    """Seconds to wait as a header Retry-After asks (RFC 9110, section 10.2.3), within bounds; None: it does not say."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    try:
        seconds = float(text) if text.isdecimal() else (_date(text) - now).total_seconds()
    except ValueError:
        return None
    return min(max(seconds, _SHORTEST_WAIT), LONGEST_WAIT)


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)
