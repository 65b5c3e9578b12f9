"""What is told while a job is live, over core NATS: no stream keeps it."""

from __future__ import annotations

from pydantic import Field

from contract.job import SpeechOptions
from contract.message import Message, Samples


class Progress(Message):
    """How far the segmenter is; core NATS only, never stored."""

    SUBJECT, STREAM = "live.{job}.progress", None

    heard: Samples = Field(description="Audio below this has been segmented.")
    floor: Samples = Field(description="Audio below this is in an utterance or is silence.")
    segments: int = Field(ge=0, description="Utterances published so far.")
    start: Samples = Field(0, description="Start of the utterance published last.")


class Speaking(Message):
    """A segment is open; core NATS only. Told when it opens, and again, at a rising interval, while it grows."""

    SUBJECT, STREAM = "live.{job}.speaking", None

    index: int = Field(ge=0, description="Of the utterance that this will be.")
    start: Samples
    end: Samples = Field(description="Its sound is there up to here.")
    first: bool = Field(False, description="It has just opened.")
    partials: bool = Field(True, description="Whether interim results are wanted; the sound is had by `Snapshot`.")


class Snapshot(Message):
    """The open segment so far: the answer to a request, core NATS only, from the segmenter that owns the job."""

    SUBJECT, STREAM = "live.{job}.snapshot", None

    index: int = Field(ge=0)
    start: Samples
    end: Samples
    pcm: bytes = Field(description="As in `Utterance`.")
    options: SpeechOptions = SpeechOptions()


class Partial(Message):
    """What was understood of an open segment so far; core NATS only. It has no meaning once there is a transcript."""

    SUBJECT, STREAM = "live.{job}.partial", None

    index: int = Field(ge=0)
    start: Samples
    end: Samples = Field(description="The text is of the sound before this.")
    text: str
    stable: int = Field(0, ge=0, description="So many characters of `text` will be the same in the next ones.")
    language: str | None = None


class Attached(Message):
    """A connection took the job over; core NATS only. Whoever had it before lets go."""

    SUBJECT, STREAM = "live.{job}.attached", None

    claim: int = Field(ge=1, description="Sequence in stream AUDIO of its claim; the highest has the job.")
