"""What clients see of a job as JSON, over REST, on the capture socket and in webhooks. Times are seconds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contract.message import Probability, seconds
from contract.summary import SummaryView
from contract.transcript import Transcript

__all__ = ["Count", "Seconds", "SegmentView", "SummaryView", "View", "WordView"]

Seconds = Annotated[float, Field(ge=0, description="Seconds from the beginning of the job's audio.")]
Count = Annotated[int, Field(ge=0)]


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
