"""What keeps text out that nobody said: no speech, no text; loops of the decoder; phrases it knows by heart. Pure.

Each rule takes text away only on two kinds of evidence at once, because people do repeat themselves and do say thanks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processors.stt.core import MAX_NO_SPEECH_PROBABILITY, MIN_LOG_PROBABILITY, Heard, HeardSegment
from processors.stt.loops import remove_loops
from processors.stt.phrases import known_phrase

SPEECH = 0.35
"""Probability above which there is speech; how it was chosen: docs/decisions/010-silence-is-not-text.md."""

DOUBTFUL_SPEECH = 0.5
"""Below this there may be none after all: then weak text is not believed. Of 3,000 single words 110 are below."""

CERTAIN_SPEECH = 0.8
"""From here on it makes no difference how much more there is."""

SMOOTHING = 5
"""Chunks of 32 ms over which the probability is averaged: clicks and the starts of tones are shorter, words are not."""


def speech_strength(probabilities: NDArray[np.float32]) -> float:
    """The highest mean of SMOOTHING successive probabilities, or of all if there are fewer; 0 if there is none."""
    if len(probabilities) == 0:
        return 0.0
    width = min(SMOOTHING, len(probabilities))
    return float(np.convolve(probabilities, np.full(width, 1 / width), "valid").max())


def has_speech(probabilities: NDArray[np.float32]) -> bool:
    """Whether somebody speaks in a sound. If in doubt, yes: one inference costs less than a lost word."""
    return speech_strength(probabilities) >= SPEECH


def guarded(heard: Heard, seconds: float, speech: float) -> Heard:
    """What was heard without what nobody said; `decoding` then tells under "removed" what that was.

    seconds: length of the utterance. speech: its `speech_strength`.
    """
    segments = remove_loops(heard.segments, seconds)
    removed: list[str] = ["loop"] if segments != heard.segments else []
    if reason := made_up(segments, speech, heard.no_speech_probability):
        segments, removed = (), [*removed, reason]
    return replace(heard, segments=segments, decoding={**heard.decoding, "removed": removed}) if removed else heard


@dataclass(frozen=True)
class _Doubt:
    """Evidence that a known phrase was not said: one of these is enough."""

    speech_below: float
    no_speech_above: float
    log_probability_below: float


_DOUBTS = {
    "outro": _Doubt(DOUBTFUL_SPEECH, MAX_NO_SPEECH_PROBABILITY, MIN_LOG_PROBABILITY),
    "credit": _Doubt(CERTAIN_SPEECH, 0.3, -0.7),
}
"""A model is sure of credits, which it has learnt by heart, and nobody says them: less evidence will do."""


def made_up(
    segments: Sequence[HeardSegment], speech: float, no_speech_probability: float
) -> Literal["unlikely", "phrase"] | None:
    """Why all the text of an utterance is to be taken for made up, if it is.

    "unlikely": there is hardly speech, and the model itself finds the text improbable. That is Whisper's own rule for
    silence, with the detector in place of its no-speech probability, which is near 0 for many sounds.
    "phrase": it is a phrase that Whisper is known to make up, and the evidence for it is weak. Never otherwise: people
    do say "Thank you".
    """
    log_probability = _log_probability(segments)
    if segments and speech < DOUBTFUL_SPEECH and log_probability < MIN_LOG_PROBABILITY:
        return "unlikely"
    kind = known_phrase("".join(segment.text for segment in segments))
    if kind is None:
        return None
    doubt = _DOUBTS[kind]
    weak = (
        speech < doubt.speech_below
        or no_speech_probability > doubt.no_speech_above
        or log_probability < doubt.log_probability_below
    )
    return "phrase" if weak else None


def _log_probability(segments: Sequence[HeardSegment]) -> float:
    """The mean over all tokens; 0 where there are none."""
    tokens = sum(segment.tokens for segment in segments)
    return sum(s.mean_log_probability * s.tokens for s in segments) / tokens if tokens else 0.0
