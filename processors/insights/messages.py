"""The events that this processor publishes, and the transcripts that it reads. Pure.

Only this processor knows its kinds of events; readers that do not know a kind skip it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from contract import Message, Samples, Transcript

Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _name(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


class SpeakerTranscript(Transcript):
    """A transcript with its speaker, if its writer names one."""

    speaker: Annotated[str | None, BeforeValidator(_name)] = None


class _Figures(BaseModel):
    """Unknown figures are left out of the map instead of being 0."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_serializer(mode="wrap")
    def _without_unknown(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        return {name: value for name, value in fields.items() if value is not None}


class Speaker(_Figures):
    """Figures of one speaker."""

    speaker: str
    talk_seconds: Seconds
    talk_share: Share = Field(description="Of the talk time of all speakers.")
    words: int = Field(ge=0)
    words_per_minute: Seconds | None = None
    longest_monologue_seconds: Seconds
    interruptions: int = Field(ge=0, description="How often this speaker started while another one was speaking.")


class Insights(_Figures, Message):
    """Figures of a job, so far or as a whole. Published again while the job is live: the last one counts."""

    SUBJECT = "events.{job}.insights"

    final: bool = Field(description="Of the whole job; changes only if a failed transcript is replaced later.")
    segments: int = Field(ge=0, description="The figures are of transcripts 0 to segments - 1.")
    failed: int = Field(0, ge=0, description="How many of them have no text because transcription failed.")
    until: Samples = Field(description="The figures are of the audio before this.")
    talk_seconds: Seconds
    silence_share: Share | None = Field(None, description="Of the audio; left out if there is none.")
    words: int = Field(ge=0, description="A character of a script without spaces counts as one.")
    words_per_minute: Seconds | None = Field(None, description="Of talk time; left out if nobody spoke.")
    pauses: int = Field(ge=0, description="Silences of at least INSIGHTS_PAUSE_MS between speech.")
    longest_pause_seconds: Seconds = 0.0
    longest_monologue_seconds: Seconds = Field(
        0.0, description="Longest speech without a pause; of one speaker if the speakers are known."
    )
    longest_monologue_start: Samples | None = None
    keywords: dict[str, int] = Field(default_factory=dict, description="How often each was said.")
    speakers: list[Speaker] | None = Field(None, description="Left out unless every transcript has a speaker.")
    interruptions: int | None = Field(None, ge=0, description="Likewise.")
    overlap_seconds: Seconds | None = Field(None, description="Time in which more than one spoke; likewise.")


class KeywordAlert(Message):
    """Keywords were said. Written once for each transcript that has any."""

    SUBJECT = "events.{job}.keywords.{generation}.{index}"

    generation: int = Field(1, ge=1)
    index: int = Field(ge=0, description="Of the transcript.")
    start: Samples
    end: Samples
    keywords: dict[str, int] = Field(description="How often each was said, if it was.")
    text: str = Field(description="Of the transcript.")
    speaker: str | None = None
