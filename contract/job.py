"""A job: what a client may ask for, where it stands, and the events of its life."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from contract.message import RATE, Message, Samples, Value

_CODES = """
af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy
id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa
sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
"""

LANGUAGES = frozenset(_CODES.split())
"""Languages that Whisper knows, ISO 639-1 where there is a code. Source: openai/whisper, whisper/tokenizer.py."""

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$", description="Whisper language code.")]

Source = Literal["live", "upload", "replay"]
"""Where a job's audio comes from, in order of priority."""

CORRECTED = 2
"""Generation of the corrected transcripts of a live job that has the option `correct`."""

SPEEDS = (0.1, 100.0)
"""The lowest and the highest speed of a replay. A lower one would keep a worker's place for weeks."""

State = Literal["created", "streaming", "transcribing", "summarizing", "completed", "failed", "deleted"]
"""Where a job stands. It only moves forward."""


class VadOptions(Value):
    """How a job's audio is cut into segments; None: the segmenter's own setting."""

    aggressiveness: int | None = Field(None, ge=0, le=3, description="webrtcvad mode; 3 finds the least speech.")
    onset_ms: int | None = Field(None, ge=30, le=600, description="Voiced time that opens a segment.")
    padding_ms: int | None = Field(None, ge=0, le=1_000, description="Audio kept before and after speech.")
    hangover_ms: int | None = Field(None, ge=150, le=3_000, description="Silence that closes a segment.")
    endpointing: Literal["fixed", "adaptive"] | None = Field(
        None, description="adaptive: hangover depends on the interim results, between the two bounds below."
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


class SpeechOptions(Value):
    """How the speech of a job is transcribed."""

    language: LanguageCode | None = Field(None, description="Whisper language code; None: detect.")
    allowed_languages: list[LanguageCode] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Languages that may be detected; None: all that the model knows.",
    )
    prompt: str | None = Field(None, max_length=2_000, description="Text that sets vocabulary and style.")
    hotwords: str | None = Field(None, max_length=1_000, description="Words that are likely to be said.")
    task: Literal["transcribe", "translate"] = "transcribe"
    model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A model that the speech workers offer; None: their default.",
    )


class JobOptions(SpeechOptions):
    """What a client may ask for when it creates a job."""

    title: str | None = Field(None, max_length=200)
    sample_rate: int = Field(RATE, ge=8_000, le=48_000, description="Samples per second of what the client sends.")
    encoding: Literal["pcm_s16le", "pcm_f32le", "mulaw", "opus"] = "pcm_s16le"
    source: Source = Field("live", description="Live audio is served before uploads, and those before replays.")
    partials: bool = Field(True, description="Whether there are interim results.")
    correct: bool | None = Field(
        None,
        description="Whether the segments of live audio are transcribed again, together with their neighbours, as "
        "generation 2; None: as the server is set up. Without effect for other sources.",
    )
    vad: VadOptions = VadOptions()
    summary: bool = True
    webhook_url: str | None = Field(None, max_length=2_000, pattern=r"^https?://")
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def is_corrected(self) -> bool:
        """Whether the job gets a generation `CORRECTED`; where `correct` was never decided it does not."""
        return self.source == "live" and self.correct is True


class Opened(Message):
    """A client has begun to send audio."""

    SUBJECT = "events.{job}.opened"

    options: JobOptions = JobOptions()


class Closed(Message):
    """No more audio will come; all of it is stored."""

    SUBJECT = "events.{job}.closed"

    samples: Samples
    reason: Literal["stop", "disconnect", "idle", "abandoned"]


class Segmented(Message):
    """All audio is segmented: the job has exactly `segments` utterances, 0 to segments - 1."""

    SUBJECT = "events.{job}.segmented"

    segments: int = Field(ge=0)
    samples: Samples


class Replay(Message):
    """A request to process a job's stored audio once more. Written once for each generation."""

    SUBJECT = "events.{job}.replay.{generation}"

    generation: int = Field(ge=2, description="Counts the times that the job's audio was processed; the first was 1.")
    speed: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="1: at the pace of the recording; None: as fast as possible. From 0.1 to 100 can be asked for.",
    )
    options: JobOptions = Field(JobOptions(), description="Those of the job, with the changes for this generation.")


class Replayed(Message):
    """All audio of a replay is segmented: the generation has exactly `segments` utterances, 0 to segments - 1."""

    SUBJECT = "events.{job}.replayed.{generation}"

    generation: int = Field(ge=2)
    segments: int = Field(ge=0)
    samples: Samples


class Completed(Message):
    """The finished job is in the store."""

    SUBJECT = "events.{job}.completed"

    segments: int = Field(ge=0)
    samples: Samples
    generation: int = Field(1, ge=1, description="The generation whose transcripts the finished job has.")
