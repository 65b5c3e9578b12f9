"""What happened when to one segment, and the figures that follow from it. Pure.

The segmenter cuts `padding` after the last voiced frame and knows that it may once it has heard `hangover` of silence
after that frame: so the sample that decides lies `hangover - padding` behind the end of the segment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from contract import RATE, Utterance

Figure = Callable[["Timeline"], float]


@dataclass(frozen=True, slots=True)
class Endpointing:
    """How a job is cut, in milliseconds."""

    padding_ms: int = 300
    hangover_ms: int = 600

    def speech_end(self, utterance: Utterance) -> int:
        """Samples up to the end of the last voiced frame."""
        return utterance.end - _samples(self.padding_ms)

    def decision(self, utterance: Utterance) -> int:
        """Samples that the segmenter must have heard to end this utterance by hangover."""
        return self.speech_end(utterance) + _samples(self.hangover_ms)

    def applies(self, utterance: Utterance, samples: int) -> bool:
        """Whether hangover ended it: not its length, nor the end of a stream of so many samples."""
        return not utterance.last and not utterance.continues and self.decision(utterance) <= samples


def _samples(ms: int) -> int:
    return ms * RATE // 1_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """One segment on its way to the client; all but `inference` are seconds on one clock.

    Raises ValueError if it was cut before the sample was stored that is said to decide: then the premise is wrong.
    """

    spoken: float
    """The frame with the last voiced sample was handed to the socket."""
    decided: float
    """The frame with the sample that decides was handed to the socket."""
    heard: float
    """That frame was in the stream AUDIO."""
    cut: float
    """The utterance was in the stream SPEECH."""
    written: float
    """The transcript was in the stream EVENTS."""
    told: float
    """The client had the transcript."""
    inference: float
    """Seconds that inference took, of those after `cut`: what was decoded ahead takes no time then."""

    def __post_init__(self) -> None:
        if self.cut < self.heard:
            early = 1_000 * (self.heard - self.cut)
            raise ValueError(f"an utterance was stored {early:.1f} ms before the sound that should have decided it")


STAGES: dict[str, Figure] = {
    "edge_in": lambda at: at.heard - at.decided,
    "vad": lambda at: at.cut - at.heard,
    "stt": lambda at: at.written - at.cut - at.inference,
    "edge_out": lambda at: at.told - at.written,
}
"""What the overhead of a segment is the sum of."""

FIGURES: dict[str, Figure] = {
    "speech_end_to_final": lambda at: at.told - at.spoken,
    "decision_to_final": lambda at: at.told - at.decided,
    "inference": lambda at: at.inference,
    "overhead": lambda at: at.told - at.decided - at.inference,
    **STAGES,
}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Spread in milliseconds, to the tenth: p50, p90, p99 (linear between two values) and max. Raises ValueError."""
    if not seconds:
        raise ValueError("there is nothing to take percentiles of")
    p50, p90, p99, most = np.percentile(seconds, [50, 90, 99, 100]) * 1_000
    return {"p50": round(p50, 1), "p90": round(p90, 1), "p99": round(p99, 1), "max": round(most, 1)}
