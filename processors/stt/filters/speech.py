"""Whether anybody speaks in an utterance: Silero VAD, a small network trained on many voices and noises."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bus import StartError

SPEECH_THRESHOLD = 0.35
"""Speech score from which there is speech. How it was chosen: docs/decisions/010-silence-is-not-text.md."""

DOUBTFUL_SPEECH = 0.5
"""Speech score below which improbable text is not believed. Of 3,000 single words 110 are below."""

CERTAIN_SPEECH = 0.8
"""Speech score from which a higher one makes no difference."""

SMOOTHING = 5
"""Chunks of 32 ms to average over: clicks and onsets of tones are shorter, words are longer."""

CHUNK = 512
"""Samples for one probability: 32 ms."""

CONTEXT = 64
"""Samples before a chunk that are part of the network's input; silence before the first chunk."""

LEVEL = -30.0
"""Loudness in dB relative to full scale that the audio is normalized to.

The network depends on loudness: it misses speech that peaks at -58 dB, and it finds single loud words less likely than
soft ones. Figures for this and the following: docs/decisions/010-silence-is-not-text.md.
"""

SOFT_LEVEL = -52.0
SOFT_NOISE = -70.0
"""If no speech is found, the audio is tried again at this level with this much noise added. This finds short words that
were cut out of digital silence."""

LOUD = 80
"""Percentile of the chunks' loudness that is normalized: a slam before a word must not make the word too soft."""

_BLOCK = 16
"""Chunks for one call of the network, half a second: most speech is certain after the first call."""

_FAINTEST = np.float32(1e-6)
"""Far below one step of 16 bits: softer audio is digital silence and is not amplified."""

_AS_IT_IS = np.float32(1)
_STATE = (1, 1, 128)
_FILE = "assets/silero_vad_v6.onnx"


def speech_score(probabilities: NDArray[np.float32]) -> float:
    """The highest mean of SMOOTHING successive probabilities, or of all if there are fewer; 0 if there are none."""
    if len(probabilities) == 0:
        return 0.0
    width = min(SMOOTHING, len(probabilities))
    return float(np.convolve(probabilities, np.full(width, 1 / width), "valid").max())


def has_speech(probabilities: NDArray[np.float32]) -> bool:
    """Whether somebody speaks. If in doubt, yes: a needless inference costs less than a lost word."""
    return speech_score(probabilities) >= SPEECH_THRESHOLD


class SpeechDetector:
    """Silero VAD (github.com/snakers4/silero-vad), loaded from the file that faster-whisper ships.

    May be used from several threads at the same time. Raises StartError if there is no such file.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # the arena would keep the memory of the longest utterance
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(find_network()), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of speech in each chunk of mono audio at 16 kHz; silence is added to fill the last chunk.

        The result hardly depends on loudness, and the same audio always gives the same result.
        """
        padded = _normalized(samples)
        found = self._run_all(padded, _amplitude(LEVEL))
        return found if has_speech(found) else np.maximum(found, self._run_all(_softly(padded)))

    def score(self, samples: NDArray[np.float32]) -> float:
        """The `speech_score` of the audio, computed only until it reaches CERTAIN_SPEECH."""
        padded = _normalized(samples)
        parts: list[NDArray[np.float32]] = []
        for part in self._run(padded, _amplitude(LEVEL)):
            parts.append(part)
            recent = np.concatenate([*(before[-SMOOTHING:] for before in parts[-2:-1]), part])
            if (certain := speech_score(recent)) >= CERTAIN_SPEECH and len(recent) >= SMOOTHING:
                return certain
        found = np.concatenate(parts) if parts else np.empty(0, np.float32)
        return speech_score(found if has_speech(found) else np.maximum(found, self._run_all(_softly(padded))))

    def _run_all(self, padded: NDArray[np.float32], amplitude: np.float32 = _AS_IT_IS) -> NDArray[np.float32]:
        return np.concatenate([np.empty(0, np.float32), *self._run(padded, amplitude)])

    def _run(self, padded: NDArray[np.float32], amplitude: np.float32) -> Iterator[NDArray[np.float32]]:
        """Probabilities of the chunks, _BLOCK at a time. padded: as `_normalized` returns it."""
        if len(padded) < CONTEXT + CHUNK:
            return
        chunks = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + CHUNK)[::CHUNK]
        h = c = np.zeros(_STATE, np.float32)
        for at in range(0, len(chunks), _BLOCK):
            block = chunks[at : at + _BLOCK] * amplitude  # copies only what the network runs on
            found, h, c = self._session.run(None, {"input": block, "h": h, "c": c})
            yield np.asarray(found, np.float32).reshape(len(block))


def _normalized(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Silence for the first context, then the audio in whole chunks, normalized to a loudness of 1."""
    count = -(-len(samples) // CHUNK)
    padded = np.zeros(CONTEXT + count * CHUNK, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    if count:
        padded /= max(_loudness(padded[CONTEXT:]), _FAINTEST)
    return padded


def _softly(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(len(padded), np.float32)
    return padded * _amplitude(SOFT_LEVEL) + noise * _amplitude(SOFT_NOISE)


def _amplitude(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))


def _loudness(samples: NDArray[np.float32]) -> np.float32:
    """Root mean square of the chunk at percentile LOUD; 1 is full scale."""
    power = np.square(samples.reshape(-1, CHUNK), dtype=np.float64).mean(axis=1)
    return np.float32(np.sqrt(np.percentile(power, LOUD)))


def find_network() -> Path:
    """The file of the network, found without importing the package that ships it; raises StartError."""
    package = find_spec("faster_whisper")
    if package is None or package.origin is None:
        raise StartError("faster-whisper is not installed, which ships the speech detector; accepted: 1.2.1 or newer")
    path = Path(package.origin).parent / _FILE
    if not path.is_file():
        raise StartError(f"the speech detector {path} is not there; faster-whisper 1.2.1 ships it")
    return path
