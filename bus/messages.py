"""The contract: one class = one subject = one meaning. Pure: no I/O in this file.

Everything behind the edge is mono 16 kHz signed 16-bit little-endian sound, and time is a sample index at that rate.
Messages are msgpack maps with named fields; readers ignore fields they do not know, so that a newer writer can add
some. Audio frames are the exception (`audio.py` beside this file): a fixed header and raw samples.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

_PACKER = msgpack.Packer()  # has a buffer of 256 kB, which is much to make anew for each message

RATE = 16_000
"""Samples per second of all audio on the bus."""

WIDTH = 2
"""Bytes per sample of all audio on the bus."""

JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="One subject token.")]
Samples = Annotated[int, Field(ge=0, description="Sample index at 16 kHz.")]
Probability = Annotated[float, Field(ge=0, le=1)]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$", description="Whisper language code.")]
Source = Literal["live", "upload", "replay"]
"""Where a job's sound comes from, in the order in which it is served."""


class ContractError(ValueError):
    """Bytes that do not mean what their subject promises. Never retried: dead-lettered."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(_Value):
    """What all messages share. `SUBJECT` has a token `{name}` for each field that addresses the message."""

    SUBJECT: ClassVar[str]
    STREAM: ClassVar[str | None] = "EVENTS"

    job: JobId

    @property
    def subject(self) -> str:
        """Where this message is published."""
        return self.SUBJECT.format(**{name: getattr(self, name) for name in _tokens(self.SUBJECT)})

    @classmethod
    def pattern(cls, job: str = "*", **others: str) -> str:
        """Subject filter for the messages of one job, or of all; `others`: further tokens that are to be so."""
        given = {"job": job, **others}
        return cls.SUBJECT.format(**{name: given.get(name, "*") for name in _tokens(cls.SUBJECT)})

    def encode(self) -> bytes:
        """One msgpack map."""
        return bytes(_PACKER.pack(self.model_dump()))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a msgpack map; raises ContractError that says what is wrong with it."""
        try:
            return cls.model_validate(msgpack.unpackb(data))
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "message"
            raise ContractError(f"not a {cls.__name__}: {where}: {first['msg']}") from exc
        except (ValueError, TypeError, msgpack.UnpackException) as exc:
            raise ContractError(f"not a {cls.__name__}: not a msgpack map: {str(exc) or type(exc).__name__}") from exc

    @classmethod
    def read(cls, subject: str, data: bytes) -> Self:
        """Decode what was found on a subject; raises ContractError also where it is addressed to another one."""
        message = cls.decode(data)
        if message.subject != subject:
            raise ContractError(f"not a {cls.__name__}: addressed to {message.subject} but published on {subject}")
        return message


@cache
def _tokens(subject: str) -> list[str]:
    return re.findall(r"{(\w+)}", subject)


class VadOptions(_Value):
    """How one job is cut into segments; what is None is left to the segmenter's own settings."""

    aggressiveness: int | None = Field(None, ge=0, le=3, description="webrtcvad mode: 3 calls the least speech.")
    onset_ms: int | None = Field(None, ge=30, le=600, description="Voiced time that opens a segment.")
    padding_ms: int | None = Field(None, ge=0, le=1_000, description="Sound kept before and after speech.")
    hangover_ms: int | None = Field(None, ge=150, le=3_000, description="Silence that closes a segment.")
    endpointing: Literal["fixed", "adaptive"] | None = Field(
        None, description="adaptive: hangover follows the interim results, between the two bounds below."
    )
    min_hangover_ms: int | None = Field(None, ge=150, le=3_000, description="Adaptive: after the end of a sentence.")
    max_hangover_ms: int | None = Field(None, ge=150, le=3_000, description="Adaptive: in the middle of a sentence.")
    max_ms: int | None = Field(None, ge=5_000, le=28_000, description="Longest segment.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = ("min_hangover_ms", "hangover_ms", "max_hangover_ms")
        given = [(name, ms) for name in names if (ms := getattr(self, name)) is not None]
        for (name, ms), (bound, most) in pairwise(given):
            if ms > most:
                raise ValueError(f"{name} is {ms}: at most {bound} is accepted, which is {most}")
        return self


class SpeechOptions(_Value):
    """What the speech engine may know about a job."""

    language: LanguageCode | None = Field(None, description="Whisper language code; None: detect.")
    allowed_languages: list[LanguageCode] | None = Field(
        None, min_length=1, max_length=100, description="What detection may choose from; None: all of the model's."
    )
    prompt: str | None = Field(None, max_length=2_000, description="Text that sets vocabulary and style.")
    hotwords: str | None = Field(None, max_length=1_000, description="Words that are likely to be said.")
    task: Literal["transcribe", "translate"] = "transcribe"
    model: str | None = Field(
        None, min_length=1, max_length=200, description="One of those that the speech workers offer; None: their own."
    )


class JobOptions(SpeechOptions):
    """What a client may ask for when it creates a job."""

    title: str | None = Field(None, max_length=200)
    sample_rate: int = Field(RATE, ge=8_000, le=48_000, description="Samples per second of what the client sends.")
    encoding: Literal["pcm_s16le", "pcm_f32le", "mulaw", "opus"] = "pcm_s16le"
    source: Source = Field("live", description="What is live is served before an upload, and that before a replay.")
    partials: bool = Field(True, description="Whether interim results of the open segment are made.")
    vad: VadOptions = VadOptions()
    summary: bool = True
    webhook_url: str | None = Field(None, max_length=2_000, pattern=r"^https?://")
    metadata: dict[str, Any] = Field(default_factory=dict)


class Utterance(Message):
    """A stretch of speech worth transcribing, cut by the segmenter; also the segmenter's checkpoint.

    `last` carries no sound: its index is the number of utterances, its end the length of the job's audio.
    """

    SUBJECT, STREAM = "speech.{job}.{generation}.{source}", "SPEECH"

    generation: int = Field(1, ge=1, description="Counts the times that the job's audio was processed.")
    source: Source = "live"
    index: int = Field(ge=0)
    start: Samples
    end: Samples
    pcm: bytes = Field(b"", description="Mono s16le at 16 kHz, (end - start) samples.")
    last: bool = False
    continues: bool = Field(False, description="Cut because it was long: speech goes on at `end`.")
    audio_seq: int = Field(1, ge=0, description="Sequence in stream AUDIO to read from for the next utterance.")
    epoch: int = Field(0, ge=0, description="Which lease of the job wrote it.")
    options: SpeechOptions = SpeechOptions()


class Opened(Message):
    """A client began to send audio."""

    SUBJECT = "events.{job}.opened"

    options: JobOptions = JobOptions()


class Closed(Message):
    """No more audio will come; all of it is stored."""

    SUBJECT = "events.{job}.closed"

    samples: Samples
    reason: Literal["stop", "disconnect", "idle", "abandoned"]


class Segmented(Message):
    """The segmenter is through: the job has exactly `segments` utterances, 0 to segments - 1."""

    SUBJECT = "events.{job}.segmented"

    segments: int = Field(ge=0)
    samples: Samples


class Replay(Message):
    """Somebody asks that a job's stored audio be processed once more. Written once for each generation."""

    SUBJECT = "events.{job}.replay.{generation}"

    generation: int = Field(ge=2, description="Counts the times that the job's audio was processed; the first was 1.")
    speed: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="1: at the pace of the recording; None: as fast as it is taken."
    )
    options: JobOptions = Field(JobOptions(), description="The job's own, with what is to be different this time.")


class Replayed(Message):
    """The segmenter is through with a generation: it has exactly `segments` utterances, 0 to segments - 1."""

    SUBJECT = "events.{job}.replayed.{generation}"

    generation: int = Field(ge=2)
    segments: int = Field(ge=0)
    samples: Samples


class Word(_Value):
    """A word and when it was said."""

    word: str
    start: Samples
    end: Samples
    probability: Probability


class Transcript(Message):
    """The text of one utterance. Written once for each index of a generation."""

    SUBJECT = "events.{job}.transcript.{generation}.{index}"

    generation: int = Field(1, ge=1)
    index: int = Field(ge=0)
    start: Samples
    end: Samples
    text: str
    language: str | None = None
    language_probability: Probability = 0.0
    confidence: Probability = Field(0.0, description="exp of the mean log-probability of the tokens.")
    no_speech_probability: Probability = 0.0
    compression_ratio: float = Field(0.0, ge=0)
    words: list[Word] = Field(default_factory=list)
    model: str = Field("", description="Name or folder name of the speech model.")
    model_hash: str = Field("", description="First 16 hex digits of SHA-256 over the model folder.")
    decoding: dict[str, Any] = Field(default_factory=dict, description="Options that the text depends on.")
    elapsed: float = Field(0.0, ge=0, description="Seconds that inference took.")
    error: str | None = Field(None, description="Why there is no text, after the last attempt.")


class ActionItem(_Value):
    """Something that somebody is to do."""

    who: str | None = None
    what: str
    due: str | None = None


class Summary(Message):
    """What the job was about."""

    SUBJECT = "events.{job}.summary"

    title: str
    summary: str
    key_points: list[str] = Field(default_factory=list)
    decisions: list[str] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    language: str | None = None
    engine: Literal["ollama", "extractive", "none"]
    model: str | None = Field(None, description="The language model, if one wrote this.")
    reason: str | None = Field(None, description="Why the language model did not write this.")


class Completed(Message):
    """The finished job is in the store."""

    SUBJECT = "events.{job}.completed"

    segments: int = Field(ge=0)
    samples: Samples


class Dead(Message):
    """A message that could not be used, and why. The message itself stays in its stream.

    Replaced when another attempt fails, removed when one succeeds.
    """

    SUBJECT = "events.{job}.dead.{stream}.{seq}"

    stream: str
    seq: int = Field(ge=0, description="Sequence of the message in `stream`.")
    at: str = Field(description="Subject of the message.")
    reason: str
    worker: str = Field("", description="Durable consumer that takes it again when asked; empty: no attempt can help.")


class Redrive(Message):
    """Somebody asks that a dead message be tried again by the worker that gave it up."""

    SUBJECT = "events.{job}.redrive.{worker}.{stream}.{seq}"

    worker: str = Field(description="As in `Dead`.")
    stream: str
    seq: int = Field(ge=0)


class Redriven(Message):
    """A dead message was tried again with success; what came of it is stored. Written once."""

    SUBJECT = "events.{job}.redriven.{worker}.{stream}.{seq}"

    worker: str
    stream: str
    seq: int = Field(ge=0)


def dead_letter(stream: str, seq: int, subject: str, reason: str, worker: str = "") -> Dead:
    """The note about a message that could not be used; its job is the subject's second token, made fit to be one."""
    job = re.sub(r"[^A-Za-z0-9_-]", "_", [*subject.split("."), ""][1])[:64] or "_"
    return Dead(job=job, stream=stream, seq=seq, at=subject, reason=reason, worker=worker)


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


EVENTS: tuple[type[Message], ...] = (
    *(Opened, Closed, Segmented, Transcript, Summary, Completed),
    *(Replay, Replayed, Dead, Redrive, Redriven),
)
"""Everything that is published below `events.<job>`."""

ALL: tuple[type[Message], ...] = (*EVENTS, Utterance, Progress, Speaking, Snapshot, Partial, Attached)

_BY_KIND = {cls.SUBJECT.split(".")[2]: cls for cls in EVENTS}


def parse_event(subject: str, data: bytes) -> Message | None:
    """Read any message of `events.<job>.<kind>...`; None for a kind of a newer writer; raises ContractError."""
    tokens = subject.split(".")
    cls = _BY_KIND.get(tokens[2]) if len(tokens) > 2 else None
    return None if cls is None else cls.read(subject, data)
