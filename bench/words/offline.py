"""The baseline: faster-whisper on the whole file, with the same model, type and cores as the product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from faster_whisper import WhisperModel

from audio import to_float32
from processors.stt.whisper.models import cores

OFFLINE = {
    "offline": (1, False),
    "offline_vad": (1, True),
    "offline_beam5": (5, False),
    "offline_beam5_vad": (5, True),
}
"""Beam, and whether its own VAD is on, by contender."""


ATTEMPTS = 3
"""By chance the errors of the same file can be five times as many, which must not flatter the product."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A text, the seconds that it took, and whether tokens were drawn at random: at a temperature above 0."""

    text: str
    seconds: float
    random: bool


class Offline:
    """A loaded model. All that is not said here is faster-whisper's default: text before as prompt, temperatures."""

    def __init__(self, folder: Path) -> None:
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=cores())

    def transcribe(self, pcm: bytes, contender: str) -> Attempt:
        """Transcribe mono s16le at 16 kHz in the language that is detected."""
        beam, vad = OFFLINE[contender]
        began = perf_counter()
        segments, _ = self._model.transcribe(to_float32(pcm), beam_size=beam, vad_filter=vad)
        found = list(segments)  # they are made while they are asked for
        text = " ".join(segment.text.strip() for segment in found)
        return Attempt(text, perf_counter() - began, any(segment.temperature for segment in found))

    def best(self, pcm: bytes, contender: str, errors: Callable[[str], int]) -> Attempt:
        """The first attempt, or where some of it was drawn at random the one of ATTEMPTS with the fewest errors."""
        first = self.transcribe(pcm, contender)
        if not first.random:
            return first
        attempts = [first, *(self.transcribe(pcm, contender) for _ in range(ATTEMPTS - 1))]
        return min(attempts, key=lambda attempt: errors(attempt.text))
