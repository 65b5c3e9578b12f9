"""The text of what was said."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field

from contract.message import ContractError, Message, Probability, Samples, Value

_SUBJECT = re.compile(r"events\.([A-Za-z0-9_-]{1,64})\.transcript\.([1-9]\d{0,8})\.(\d{1,9})")


class Word(Value):
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
    timing: dict[str, float] = Field(
        default_factory=dict,
        description="Seconds of its batch in the queue (`queue`) and in each kind of call of the model: `encode`, "
        "`detect`, `generate`, `align`.",
    )
    error: str | None = Field(None, description="Why there is no text, after the last attempt.")

    @classmethod
    def unreadable(cls, subject: str, reason: str) -> Self | None:
        """A stand-in for a transcript that cannot be read; None where `subject` is not that of a transcript.

        The index is taken, so that no better transcript will come. Its place in the audio is unknown: 0 to 0.
        """
        found = _SUBJECT.fullmatch(subject)
        if found is None:
            return None
        job, generation, index = found.groups()
        return cls(job=job, generation=int(generation), index=int(index), start=0, end=0, text="", error=reason)


def read_transcripts(stored: Iterable[bytes]) -> list[Transcript]:
    """Read stored transcripts, in order of index; those that cannot be read are left out."""
    found = []
    for data in stored:
        try:
            found.append(Transcript.decode(data))
        except ContractError:
            continue
    return sorted(found, key=lambda transcript: transcript.index)


def transcript_text(segments: Iterable[Transcript]) -> str:
    """The text of segments in order of index, one line for each that has any."""
    texts = (segment.text.strip() for segment in sorted(segments, key=lambda segment: segment.index))
    return "\n".join(text for text in texts if text)


def language_of(segments: Iterable[Transcript]) -> str | None:
    """The language that was spoken for the longest time; None if no segment names one."""
    spoken: defaultdict[str, int] = defaultdict(int)
    for segment in segments:
        if segment.language and segment.text.strip():
            spoken[segment.language] += segment.end - segment.start
    return max(spoken, key=lambda code: spoken[code], default=None)
