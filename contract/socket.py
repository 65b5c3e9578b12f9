"""The JSON messages of the capture socket: these models are what is sent.

Times are seconds, counts are samples at the rate that the job was created with.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from pydantic import BaseModel, Field

from contract.job import State
from contract.message import JobId
from contract.summary import SummaryView
from contract.transcript import Transcript
from contract.view import Count, Seconds, SegmentView, View


class Close(IntEnum):
    """Codes with which the server closes a capture socket. Below 4000 they are those of RFC 6455, section 7.4."""

    DONE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_AGAIN = 1013
    NO_SUCH_JOB = 4004
    IDLE = 4008
    JOB_CLOSED = 4009
    TAKEN_OVER = 4010


class SocketMessage(View):
    """What the server sends."""

    type: str


class SocketWelcome(SocketMessage):
    """The job is this connection's: send audio from here on."""

    type: Literal["connection_success"] = "connection_success"
    job_id: JobId
    next_sample: Count = Field(description="The first sample to send; where a resumed job stands.")
    message: str = Field("connected: send audio", description="The same for a person.")


class SocketAck(SocketMessage):
    """All audio below this sample is durable; what is not yet acked is to be kept."""

    type: Literal["ack"] = "ack"
    samples: Count


class SocketSpeechStarted(SocketMessage):
    """Somebody began to speak."""

    type: Literal["speech_started"] = "speech_started"
    start: Seconds


class SocketPartial(SocketMessage):
    """What was understood so far of the segment that is open. A final takes its place."""

    type: Literal["partial"] = "partial"
    start: Seconds
    text: str
    stable: Count = Field(description="So many characters of `text` will not change any more.")


class SocketSegment(SegmentView, SocketMessage):
    """A final. Each index is sent once, in any order; again after a reconnect, and when a failed one was mended."""

    type: Literal["transcript_segment"] = "transcript_segment"
    segment_number: int = Field(ge=1, description="`index` + 1, for clients that count from 1.")

    @classmethod
    def of(cls, transcript: Transcript) -> SocketSegment:
        """A transcript as the socket sends it."""
        return cls.model_validate({**cls.fields_of(transcript), "segment_number": transcript.index + 1})


class SocketStatus(SocketMessage):
    """Where the job stands; sent when it changes."""

    type: Literal["status"] = "status"
    state: State
    lag: float = Field(ge=0, description="Seconds of audio that have no text yet.")
    trouble: str | None = Field(
        None,
        description="Why audio cannot be stored at present; left out while it can. What is not acked is to be kept.",
        exclude_if=lambda trouble: trouble is None,
    )


class SocketFinalSummary(SocketMessage):
    """The end: the server closes the connection with 1000 after it."""

    type: Literal["final_summary"] = "final_summary"
    job_id: JobId
    summary: SummaryView | None
    transcript: str = Field(description="One line for each segment that has text.")
    total_segments: Count


class SocketError(SocketMessage):
    """What was wrong, and what is accepted. Where it ends the connection, a close code follows."""

    type: Literal["error"] = "error"
    code: str = Field(description="A stable name: bad_sample, frame_too_large, job_closed, unavailable, ...")
    message: str
    retry_after: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda wait: wait is None,
        description="Seconds to wait before trying again; only with 1013.",
    )


class SocketCommand(View):
    """stop: no more audio, the rest is still sent. finalize: end the open segment now. keepalive: nothing."""

    command: Literal["stop", "finalize", "keepalive"]


FROM_SERVER: tuple[type[BaseModel], ...] = (
    SocketWelcome,
    SocketAck,
    SocketSpeechStarted,
    SocketPartial,
    SocketSegment,
    SocketStatus,
    SocketFinalSummary,
    SocketError,
)
"""What the server sends; it never sends binary messages."""

FROM_CLIENT: tuple[type[BaseModel], ...] = (SocketCommand,)
"""What a client sends, besides audio."""
