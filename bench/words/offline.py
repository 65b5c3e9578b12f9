"""The baseline: faster-whisper on the whole file, with the same model, type and cores as the product."""

from __future__ import annotations

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


class Offline:
    """A loaded model. All that is not said here is faster-whisper's default: text before as prompt, temperatures."""

    def __init__(self, folder: Path) -> None:
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=cores())

    def transcribe(self, pcm: bytes, contender: str) -> tuple[str, float]:
        """Text of mono s16le at 16 kHz, in the language that is detected, and the seconds that it took."""
        beam, vad = OFFLINE[contender]
        began = perf_counter()
        segments, _ = self._model.transcribe(to_float32(pcm), beam_size=beam, vad_filter=vad)
        text = " ".join(segment.text.strip() for segment in segments)  # they are made while they are asked for
        return text, perf_counter() - began
