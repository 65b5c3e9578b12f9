"""What this processor publishes, and transcripts as it reads them. Pure: no I/O in this file.

Its kinds of events are its own: nobody else has to know them, and who does not passes them over.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from contract import Message, Samples, Transcript

Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _name(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


class Spoken(Transcript):
    """A transcript, and who spoke where its writer says so."""

    speaker: Annotated[str | None, BeforeValidator(_name)] = None


class _Figures(BaseModel):
    """What is not known is left out of the map, and not said to be 0."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_serializer(mode="wrap")
    def _known(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        return {name: value for name, value in fields.items() if value is not None}


class Speaker(_Figures):
    """One person's part."""

    speaker: str
    talk_seconds: Seconds
    talk_share: Share = Field(description="Of the talk time of all.")
    words: int = Field(ge=0)
    words_per_minute: Seconds | None = None
    longest_monologue_seconds: Seconds
    interruptions: int = Field(ge=0, description="How often this person began while another one was speaking.")


class Insights(_Figures, Message):
    """How a job was spoken, so far or as a whole. Told again as the job goes on: the last one counts."""

    SUBJECT = "events.{job}.insights"

    final: bool = Field(description="Of the whole job; changes only where a failed transcript is mended later.")
    segments: int = Field(ge=0, description="The figures are of transcripts 0 to segments - 1.")
    failed: int = Field(0, ge=0, description="Segments of them that have no text because transcribing failed.")
    until: Samples = Field(description="The figures are of the sound before this.")
    talk_seconds: Seconds
    silence_share: Share | None = Field(None, description="Of the sound; left out where there is none.")
    words: int = Field(ge=0, description="A character of a script without spaces counts as one.")
    words_per_minute: Seconds | None = Field(None, description="Of talk time; left out where nobody spoke.")
    pauses: int = Field(ge=0, description="Silences between speech that are as long as INSIGHTS_PAUSE_MS or longer.")
    longest_pause_seconds: Seconds = 0.0
    longest_monologue_seconds: Seconds = Field(
        0.0, description="Longest stretch without a pause; by one speaker where the speakers are known."
    )
    longest_monologue_start: Samples | None = None
    keywords: dict[str, int] = Field(default_factory=dict, description="How often each was said.")
    speakers: list[Speaker] | None = Field(None, description="Left out where not every transcript has its speaker.")
    interruptions: int | None = Field(None, ge=0, description="Likewise.")
    overlap_seconds: Seconds | None = Field(None, description="Time in which several spoke; likewise.")


class KeywordAlert(Message):
    """Words to watch for were said. Written once for each transcript that has any."""

    SUBJECT = "events.{job}.keywords.{generation}.{index}"

    generation: int = Field(1, ge=1)
    index: int = Field(ge=0, description="Of the transcript.")
    start: Samples
    end: Samples
    keywords: dict[str, int] = Field(description="How often each was said; only those that were.")
    text: str = Field(description="Of the transcript.")
    speaker: str | None = None
