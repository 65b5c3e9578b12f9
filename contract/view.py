"""The JSON that clients see: REST answers, the event feed, webhooks, and parts of the capture socket's messages.

Durations and positions in the audio are seconds from its beginning, to the millisecond. Points in time are UTC in
ISO 8601. `model_dump(mode="json")` gives the JSON; `model_validate` reads what a server sent and ignores fields that it
does not know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from contract.job import Closed, Completed, JobOptions, Opened, Segmented, Source, State
from contract.message import JobId, Message, Probability, seconds
from contract.summary import Summary
from contract.summary import SummaryView as SummaryView
from contract.transcript import Transcript

Seconds = Annotated[float, Field(ge=0, description="Seconds from the beginning of the job's audio.")]
Duration = Annotated[float, Field(ge=0, description="Length of the job's audio in seconds.")]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[
    datetime,
    PlainSerializer(lambda time: time.isoformat(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _is_none(value: object) -> bool:
    return value is None


class View(BaseModel):
    """Something that clients see; a newer server may add fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class WordView(View):
    """A word and when it was said."""

    word: str
    start: Seconds
    end: Seconds
    probability: Probability


class SegmentView(View):
    """A final segment: the text of one utterance."""

    index: Count
    start: Seconds
    end: Seconds
    text: str
    language: str | None
    confidence: Probability
    words: list[WordView]
    error: str | None = Field(
        None, exclude_if=lambda error: not error, description="Why there is no text; only there when that is so."
    )

    @classmethod
    def fields_of(cls, transcript: Transcript) -> dict[str, object]:
        """The fields of a transcript as clients see them, for this class or one that has more."""
        return {
            "index": transcript.index,
            "start": seconds(transcript.start),
            "end": seconds(transcript.end),
            "text": transcript.text,
            "language": transcript.language,
            "confidence": round(transcript.confidence, 4),
            "words": [
                WordView(
                    word=word.word,
                    start=seconds(word.start),
                    end=seconds(word.end),
                    probability=round(word.probability, 4),
                )
                for word in transcript.words
            ],
            "error": transcript.error,
        }

    @classmethod
    def of(cls, transcript: Transcript) -> SegmentView:
        """A transcript as clients see it."""
        return SegmentView.model_validate(cls.fields_of(transcript))


# Jobs.


class CreatedView(View):
    """A new job."""

    job_id: JobId
    ws_url: str = Field(description="Address of its capture socket.")
    job_type: Literal["REALTIME"] = Field("REALTIME", description="Always the same; for older clients.")
    status: Literal["pending"] = Field("pending", description="Always the same; for older clients.")


class ProgressView(View):
    """How much of a generation is transcribed."""

    transcribed: Count = Field(description="Segments that are transcribed, with success or not.")
    failed: Count = Field(description="Those of them that could not be transcribed.")
    segments: Count | None = Field(description="How many there will be; null until all audio is segmented.")


class GenerationView(View):
    """One pass over a job's audio: 1 is the capture, 2 its correction or a replay, the others are replays."""

    generation: int = Field(ge=1)
    segments: Count = Field(description="Segments transcribed so far.")
    done: bool
    model: str | None = Field(description="The speech model; null while there is no text.")


class JobView(View):
    """A job, and the segments of one of its generations. A live job has what is stored so far."""

    job_id: JobId
    state: State
    created_at: Time
    updated_at: Time
    completed_at: Time | None
    title: str | None = Field(description="As the client named the job, else as its summary does.")
    source: Source
    options: JobOptions
    duration: Duration | None = Field(description="Seconds of audio; null until the job is completed.")
    generation: int = Field(1, ge=1, description="The generation that the segments are of.")
    segments: list[SegmentView] = Field(description="In order of index.")
    transcript: str = Field(description="One line for each segment that has text.")
    summary: SummaryView | None
    progress: ProgressView
    generations: list[GenerationView] | None = Field(description="Null while the bus is away.")
    extra: dict[str, Any] | None = Field(
        description="The last event of each kind that a processor has added, by kind; null while the bus is away."
    )


class JobEntryView(View):
    """A job in a list. `duration`, `segments` and `language` are null until they are known."""

    job_id: JobId
    state: State
    title: str | None
    created_at: Time
    completed_at: Time | None
    duration: Duration | None
    segments: Count | None = Field(description="How many there are.")
    language: str | None = Field(description="The language spoken for the longest time, else the one asked for.")
    source: Source
    text: str = Field(description="The beginning of the transcript, or the place that a search found.")


class JobListView(View):
    """Some jobs, newest first."""

    jobs: list[JobEntryView]
    next_cursor: str | None = Field(description="Where the list goes on; null at its end.")
    searched: Count = Field(description="Jobs that this request looked at.")


class ReplayView(View):
    """A replay that was asked for."""

    job_id: JobId
    generation: int = Field(ge=2, description="The generation that it makes.")


class DeadLetterView(View):
    """A message that could not be used."""

    job_id: JobId
    stream: str
    seq: Count = Field(description="Sequence of the message in `stream`.")
    subject: str
    reason: str
    worker: str | None = Field(description="Consumer that takes the message again; null: no attempt can help.")
    at: Time = Field(description="When the last attempt failed.")


class DeadLetterListView(View):
    """Dead letters, newest first."""

    dead: list[DeadLetterView]


class RetryView(View):
    """A dead letter that will be tried again."""

    job_id: JobId
    stream: str
    seq: Count
    worker: str


# Audio and files.


class PeaksView(View):
    """The lowest and highest sample in each of `points` stretches of equal length, to draw a waveform."""

    job_id: JobId
    start: Seconds
    end: Seconds
    points: Count = Field(description="Length of both lists; fewer than asked for where there are fewer samples.")
    min: list[float] = Field(description="-1 to 1.")
    max: list[float] = Field(description="-1 to 1.")


class ExportedSegmentView(SegmentView):
    """A segment in a downloaded file."""

    speaker: str | None = Field(None, exclude_if=lambda name: not name, description="Only there when it is known.")


class ExportView(View):
    """A job as a file, `transcript.json`."""

    job_id: JobId
    state: State
    title: str | None
    language: str | None
    duration: Duration | None
    segments: list[ExportedSegmentView]
    summary: SummaryView | None


# Events of the feed.


class OpenedView(View):
    """`opened`: a client began to send audio."""

    job_id: JobId
    options: JobOptions


class ClosedView(View):
    """`closed`: no more audio will come."""

    duration: Duration
    reason: str = Field(description="stop, disconnect, idle or abandoned.")


class CountedView(View):
    """`segmented`: all audio is segmented. `completed`: the job is complete, and this is its last event."""

    segments: Count
    duration: Duration


class TranscriptView(SegmentView):
    """`transcript`: a segment of any generation. A failed one is sent again once it has been mended."""

    generation: int = Field(ge=1)


EventView = OpenedView | ClosedView | CountedView | TranscriptView | SummaryView


def event_view(message: Message) -> EventView | None:
    """An event as clients see it; None for those that only workers need."""
    match message:
        case Opened():
            return OpenedView(job_id=message.job, options=message.options)
        case Closed():
            return ClosedView(duration=seconds(message.samples), reason=message.reason)
        case Segmented() | Completed():
            return CountedView(segments=message.segments, duration=seconds(message.samples))
        case Transcript():
            return TranscriptView.model_validate({**SegmentView.fields_of(message), "generation": message.generation})
        case Summary():
            return message.view
    return None


# Webhooks, health, errors.


class WebhookView(View):
    """The body of a webhook."""

    type: Literal["job_completed"] = "job_completed"
    job_id: JobId
    metadata: dict[str, Any] = Field(description="As the client gave it when it created the job.")
    duration: Duration
    segments: list[SegmentView] = Field(description="In order of index, without a gap.")
    transcript: str = Field(description="One line for each segment that has text.")
    summary: SummaryView | None


class HealthView(View):
    """This process answers."""

    status: Literal["ok"] = "ok"


class ReadyView(View):
    """Whether the server can take captures."""

    status: Literal["ready", "waiting"]
    checks: dict[str, str] = Field(description='What is needed, each with "ok" or with what is wrong.')


class FieldErrorView(View):
    """What is wrong with one field of a body."""

    field: str = Field(description="Path of the field, with dots between.")
    message: str


class ProblemView(View):
    """Why a request failed: RFC 9457, `application/problem+json`. Optional members are left out where they are null."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = Field(description="The phrase of the status code.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="One sentence: what is wrong, and what is accepted.")
    errors: list[FieldErrorView] | None = Field(None, exclude_if=_is_none, description="With 422.")
    retry_after: int | None = Field(None, ge=0, exclude_if=_is_none, description="Seconds to wait before asking again.")
    deleted_at: Time | None = Field(None, exclude_if=_is_none, description="When the job was erased; with 410.")
    available_from: Seconds | None = Field(
        None, exclude_if=_is_none, description="Where the audio that is still stored begins; with 410."
    )
