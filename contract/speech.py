"""Speech that was cut out of a job's audio."""

from __future__ import annotations

from pydantic import Field

from contract.job import Source, SpeechOptions
from contract.message import RATE, Message, Samples, Value

LONGEST_LEAD = 2 * RATE
"""Samples of a pause that are kept with the utterance behind it."""

LONGEST_PAUSE = 4 * RATE
"""Samples; what is said after a longer pause seldom continues what was said before it, and is decoded without it."""

LONGEST_WINDOW = 28 * RATE
"""Samples that are decoded together; what is left of a model's 30 s is for sounds that it places a little late."""


class Window(Value):
    """The merged window of an utterance: consecutive utterances that are transcribed together."""

    first: int = Field(ge=0, description="Index of the first utterance in the window.")
    samples: Samples = Field(
        description="Length up to the end of this utterance, with the leads of all utterances but the first."
    )


class Utterance(Message):
    """A stretch of speech to transcribe, and the segmenter's checkpoint.

    `last` has no audio: its index is the number of utterances, its end the length of the job's audio.
    """

    SUBJECT, STREAM = "speech.{job}.{generation}.{source}", "SPEECH"

    generation: int = Field(1, ge=1, description="Counts the times that the job's audio was processed.")
    source: Source = "live"
    index: int = Field(ge=0)
    previous_seq: int = Field(
        0, ge=0, description="Sequence in stream SPEECH of the utterance before this one; 0: there is none."
    )
    start: Samples
    end: Samples
    pcm: bytes = Field(b"", description="Mono s16le at 16 kHz, (end - start) samples.")
    lead: bytes = Field(
        b"", description="The sound before `start`, up to 32,000 samples, but not that of the utterance before."
    )
    last: bool = False
    continues: bool = Field(False, description="Cut because it was long: the speech goes on at `end`.")
    window: Window | None = Field(None, description="None: this utterance is only transcribed alone.")
    audio_seq: int = Field(1, ge=0, description="Sequence in stream AUDIO to read from for the next utterance.")
    epoch: int = Field(0, ge=0, description="Counts the leases of the job; the one that wrote this.")
    options: SpeechOptions = SpeechOptions()
