"""Whether anybody speaks: Silero VAD, a small network that was trained on many voices and many noises."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bus import StartError
from processors.stt.guards import CERTAIN_SPEECH, SMOOTHING, has_speech, speech_strength

CHUNK = 512
"""Samples to which one probability belongs: 32 ms."""

CONTEXT = 64
"""Samples before a chunk that the network hears with it; silence before the first."""

LEVEL = -30.0
"""Loudness, in dB below full scale, that a sound is brought to before the network hears it.

The network is not indifferent to it: of speech that peaks at -58 dB it hears nothing, and of single loud words less
than of soft ones. Figures for this and what follows: docs/decisions/010-silence-is-not-text.md.
"""

SOFT_LEVEL = -52.0
SOFT_NOISE = -70.0
"""Where it finds no speech it hears the sound once more, softly and with this much noise: on short words that were cut
out of perfect silence that helps."""

LOUD = 80
"""Percentile of the chunks' loudness that is brought to the level: a slam before a word does not drown it."""

_BLOCK = 16
"""Chunks that are heard at a time, half a second: most speech is certain after one of them."""

_FAINTEST = np.float32(1e-6)
"""Below a step of 16 bits by far: what has not even that is silence and stays so."""

_AS_IT_IS = np.float32(1)
_STATE = (1, 1, 128)
_FILE = "assets/silero_vad_v6.onnx"


class SpeechDetector:
    """Silero VAD (github.com/snakers4/silero-vad), from the file that faster-whisper brings.

    May be used from several threads at the same time. Raises StartError if there is no such file.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would keep what the longest utterance took
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(find_network()), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def probability(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely speech is in each chunk of mono sound at 16 kHz; the last chunk is filled up with silence.

        A vector for `has_speech`; how loud the sound is hardly matters. Each call begins anew: the same sound gives
        the same figures.
        """
        padded = _padded(sound)
        found = self._whole(padded, _amplitude(LEVEL))
        return found if has_speech(found) else np.maximum(found, self._whole(_softly(padded)))

    def strength(self, sound: NDArray[np.float32]) -> float:
        """The `speech_strength` of a sound, or less but at least CERTAIN_SPEECH: it is heard no further than that."""
        padded = _padded(sound)
        parts: list[NDArray[np.float32]] = []
        for part in self._hear(padded, _amplitude(LEVEL)):
            parts.append(part)
            recent = np.concatenate([*(before[-SMOOTHING:] for before in parts[-2:-1]), part])
            if (certain := speech_strength(recent)) >= CERTAIN_SPEECH and len(recent) >= SMOOTHING:
                return certain
        found = np.concatenate(parts) if parts else np.empty(0, np.float32)
        return speech_strength(found if has_speech(found) else np.maximum(found, self._whole(_softly(padded))))

    def _whole(self, padded: NDArray[np.float32], amplitude: np.float32 = _AS_IT_IS) -> NDArray[np.float32]:
        return np.concatenate([np.empty(0, np.float32), *self._hear(padded, amplitude)])

    def _hear(self, padded: NDArray[np.float32], amplitude: np.float32) -> Iterator[NDArray[np.float32]]:
        """Probabilities for the chunks, _BLOCK at a time, of a sound that has silence of CONTEXT samples before it."""
        if len(padded) < CONTEXT + CHUNK:
            return
        chunks = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + CHUNK)[::CHUNK]
        h = c = np.zeros(_STATE, np.float32)
        for at in range(0, len(chunks), _BLOCK):
            heard = chunks[at : at + _BLOCK] * amplitude  # the copy is made here: what is not heard is not copied
            found, h, c = self._session.run(None, {"input": heard, "h": h, "c": c})
            yield np.asarray(found, np.float32).reshape(len(heard))


def _padded(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound in whole chunks behind the context, brought to a loudness of 1."""
    count = -(-len(sound) // CHUNK)
    padded = np.zeros(CONTEXT + count * CHUNK, np.float32)
    padded[CONTEXT : CONTEXT + len(sound)] = sound
    if count:
        padded /= max(_loudness(padded[CONTEXT:]), _FAINTEST)
    return padded


def _softly(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(len(padded), np.float32)
    return padded * _amplitude(SOFT_LEVEL) + noise * _amplitude(SOFT_NOISE)


def _amplitude(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))


def _loudness(sound: NDArray[np.float32]) -> np.float32:
    """Root mean square of the chunk that is louder than LOUD per cent of them; 1 is full scale."""
    power = np.square(sound.reshape(-1, CHUNK), dtype=np.float64).mean(axis=1)
    return np.float32(np.sqrt(np.percentile(power, LOUD)))


def find_network() -> Path:
    """The file of the network, without importing the package that it lies in; raises StartError."""
    package = find_spec("faster_whisper")
    if package is None or package.origin is None:
        raise StartError("faster-whisper is not installed, which brings the speech detector; accepted: 1.2.1 or newer")
    path = Path(package.origin).parent / _FILE
    if not path.is_file():
        raise StartError(f"the speech detector {path} is not there; faster-whisper 1.2.1 brings it")
    return path
