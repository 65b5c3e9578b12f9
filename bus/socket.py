"""The JSON messages of the capture socket, one class each, so that they can be described and checked like the bus's.

Times are seconds, counts are samples at the rate that the job was created with. Pure: no I/O in this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from bus.messages import JobId, Probability, Summary

Seconds = Annotated[float, Field(ge=0, description="Seconds from the beginning of the job's audio.")]
Count = Annotated[int, Field(ge=0)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True)


class SocketWelcome(_Said):
    """The job is this connection's: send audio from here on."""

    type: Literal["connection_success"]
    job_id: JobId
    next_sample: Count = Field(description="The first sample to send; where a resumed job stands.")


class SocketAck(_Said):
    """All audio below this sample is durable; what is not yet acked is to be kept."""

    type: Literal["ack"]
    samples: Count


class SocketSpeechStarted(_Said):
    """Somebody began to speak."""

    type: Literal["speech_started"]
    start: Seconds


class SocketPartial(_Said):
    """What was understood so far of the segment that is open. A final takes its place."""

    type: Literal["partial"]
    start: Seconds
    text: str
    stable: Count = Field(description="So many characters of `text` will not change any more.")


class SocketWord(_Said):
    """A word and when it was said."""

    word: str
    start: Seconds
    end: Seconds
    probability: Probability


class SocketSegment(_Said):
    """A final. Each index is told once, in any order; again after a reconnect, and when a failed one is mended."""

    type: Literal["transcript_segment"]
    index: Count
    start: Seconds
    end: Seconds
    text: str
    language: str | None
    confidence: Probability
    words: list[SocketWord]
    error: str | None = Field(None, description="Why there is no text; only there when that is so.")


class SocketStatus(_Said):
    """Where the job stands; told when it changes."""

    type: Literal["status"]
    state: Literal["created", "streaming", "transcribing", "summarizing", "completed", "failed", "deleted"]
    lag: float = Field(ge=0, description="Seconds of audio that have no text yet.")


_SUMMARY: dict[str, Any] = {name: (field.annotation, field) for name, field in Summary.model_fields.items()}

SocketSummary: type[BaseModel] = create_model(
    "SocketSummary",
    __doc__="What the job was about.",
    **{name: field for name, field in _SUMMARY.items() if name != "job"},
)


class SocketFinalSummary(_Said):
    """The end: the server closes the connection with 1000 after it."""

    type: Literal["final_summary"]
    job_id: JobId
    summary: SocketSummary | None
    transcript: str = Field(description="One line for each segment that has text.")


class SocketError(_Said):
    """What was wrong, and what is accepted. Where it ends the connection, a close code follows."""

    type: Literal["error"]
    code: str = Field(description="A stable name: bad_sample, frame_too_large, job_closed, unavailable, ...")
    message: str
    retry_after: int | None = Field(None, ge=0, description="Seconds to wait before trying again; only with 1013.")


class SocketCommand(_Said):
    """stop: no more audio, the rest is still told. finalize: end the open segment now. keepalive: nothing."""

    command: Literal["stop", "finalize", "keepalive"]


TOLD: tuple[type[BaseModel], ...] = (
    SocketWelcome,
    SocketAck,
    SocketSpeechStarted,
    SocketPartial,
    SocketSegment,
    SocketStatus,
    SocketFinalSummary,
    SocketError,
)
"""What the server sends; binary messages it never does."""

SAID: tuple[type[BaseModel], ...] = (SocketCommand,)
"""What a client sends, besides audio."""
