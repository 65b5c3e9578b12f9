"""Messages about live jobs, over core NATS: no stream stores them, and some may be lost."""

from __future__ import annotations

from pydantic import Field

from contract.job import SpeechOptions
from contract.message import Message, Samples


class Progress(Message):
    """How far the segmenter has got."""

    SUBJECT, STREAM = "live.{job}.progress", None

    heard: Samples = Field(description="Audio below this has been segmented.")
    floor: Samples = Field(description="Audio below this is in an utterance or is silence.")
    segments: int = Field(ge=0, description="Utterances published so far.")
    start: Samples = Field(0, description="Start of the utterance published last.")


class Speaking(Message):
    """A segment is open. Sent when it opens, at growing intervals while it grows, and in pauses that may end it."""

    SUBJECT, STREAM = "live.{job}.speaking", None

    index: int = Field(ge=0, description="Of the utterance that the segment will be.")
    start: Samples
    end: Samples = Field(description="End of its audio so far.")
    first: bool = Field(False, description="The segment has just opened.")
    partials: bool = Field(True, description="Whether interim results are wanted; `Snapshot` has the audio.")
    settled: Samples = Field(0, description="As in `Snapshot`.")


class Snapshot(Message):
    """The open segment so far: the answer of the segmenter that owns the job to a request."""

    SUBJECT, STREAM = "live.{job}.snapshot", None

    index: int = Field(ge=0)
    previous_seq: int = Field(0, ge=0, description="As in `Utterance`; 0 also while that one is being stored.")
    start: Samples
    end: Samples
    pcm: bytes = Field(description="As in `Utterance`.")
    lead: bytes = Field(b"", description="As in `Utterance`.")
    settled: Samples = Field(
        0,
        description="If nobody goes on speaking, the utterance ends at this sample, up to which `pcm` has all of it; "
        "0: not known yet.",
    )
    options: SpeechOptions = SpeechOptions()


class Partial(Message):
    """Interim text of an open segment. It has no meaning once there is a transcript."""

    SUBJECT, STREAM = "live.{job}.partial", None

    index: int = Field(ge=0)
    start: Samples
    end: Samples = Field(description="The text is of the audio before this.")
    text: str
    stable: int = Field(0, ge=0, description="This many characters of `text` will not change.")
    language: str | None = None


class Attached(Message):
    """A connection has taken the job over. The one that had it before lets go."""

    SUBJECT, STREAM = "live.{job}.attached", None

    claim: int = Field(ge=1, description="Sequence in stream AUDIO of its claim; the highest has the job.")
