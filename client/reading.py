"""Reads what a server sends, as the contract describes it. Pure.

A newer server is tolerated: unknown fields and messages are passed over, and unknown names of states, engines and
options are taken as they are. Of an older or simpler server, fields that the client can do without may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from client.errors import ServerError
from contract import Probability
from contract.socket import (
    SocketAck,
    SocketFinalSummary,
    SocketPartial,
    SocketSpeechStarted,
    SocketStatus,
    SocketWelcome,
)
from contract.view import (
    DeadLetterListView,
    JobEntryView,
    JobListView,
    JobView,
    SegmentView,
    SummaryView,
    View,
    WordView,
)

Json = dict[str, Any]
"""A JSON object as a server sent it."""

Model = TypeVar("Model", bound=BaseModel)


class Summary(SummaryView):
    """A summary by any engine."""

    engine: str  # type: ignore[assignment]


class Segment(SegmentView):
    """A final of the capture socket."""

    language: str | None = None
    confidence: Probability = 0.0
    words: list[WordView] = Field(default_factory=list)


class Status(SocketStatus):
    """A status of any state."""

    state: str  # type: ignore[assignment]


class FinalSummary(SocketFinalSummary):
    """The last message, with a summary by any engine."""

    summary: Summary | None
    total_segments: int | None = None  # type: ignore[assignment]


class Job(JobView):
    """A job's record, of any state and with any options."""

    state: str  # type: ignore[assignment]
    source: str  # type: ignore[assignment]
    options: Json  # type: ignore[assignment]
    summary: Summary | None


class JobEntry(JobEntryView):
    """A job in a list, of any state."""

    state: str  # type: ignore[assignment]
    source: str  # type: ignore[assignment]


class JobPage(JobListView):
    """Some jobs, as they were sent; `JobEntry` reads them."""

    jobs: list[Json]  # type: ignore[assignment]


class DeadPage(DeadLetterListView):
    """Some dead letters, as they were sent."""

    dead: list[Json]  # type: ignore[assignment]


_MESSAGES: dict[str, type[View]] = {
    "connection_success": SocketWelcome,
    "ack": SocketAck,
    "speech_started": SocketSpeechStarted,
    "partial": SocketPartial,
    "transcript_segment": Segment,
    "status": Status,
    "final_summary": FinalSummary,
}


def read(model: type[Model], value: object, what: str) -> Model:
    """Read JSON as a model of the contract; raises ServerError where it is none."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ServerError(f"the server sent a {what} that breaks the contract: {where}: {first['msg']}") from exc


def read_message(message: Mapping[str, Any]) -> View | None:
    """Read a message of the capture socket; None for an error, and for a type that only a newer server has."""
    model = _MESSAGES.get(message["type"])
    return None if model is None else read(model, message, message["type"])
