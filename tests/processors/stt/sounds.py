"""Audio for the speech engine: the committed samples, as they are and degraded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audio import decode, to_float32
from contract import SpeechOptions
from processors.stt.whisper.backend import Whisper
from processors.stt.whisper.prepared import PreparedAudio

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "samples"
MICRO = ROOT / "models/whisper-micro"
SHORTEST = 500
"""Frames of the shortest window that whisper-micro supports."""

PADDING = 4_800
LONGEST = 28 * 16_000


class Sentence(NamedTuple):
    text: str
    language: str
    pcm: bytes


def sound(name: str) -> bytes:
    return b"".join(decode(SAMPLES / f"{name}.flac"))


def sentences(name: str) -> list[Sentence]:
    """Each sentence of a sample, with the padding that the segmenter leaves around it."""
    pcm = sound(name)
    said = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))["sentences"]
    return [
        Sentence(s["text"], s["language"], pcm[2 * max(0, s["start"] - PADDING) : 2 * (s["end"] + PADDING)])
        for s in said
    ]


def packed(said: Iterable[Sentence]) -> bytes:
    """The sentences without pauses, at most as long as the longest utterance."""
    return b"".join(sentence.pcm[2 * PADDING : -2 * PADDING] for sentence in said)[: 2 * LONGEST]


def prepared(
    whisper: Whisper,
    pcm: bytes,
    options: SpeechOptions | None = None,
    *,
    shortest: int = SHORTEST,
    interim: bool = False,
) -> PreparedAudio:
    """Prepare audio for the decoder, without the speech filter."""
    options = options or SpeechOptions()
    context = whisper.context(options.prompt, options.hotwords)
    return PreparedAudio(whisper.features(to_float32(pcm)), options, context, shortest, interim)


def louder(pcm: bytes, decibels: float) -> bytes:
    """With another gain; clips."""
    samples = np.frombuffer(pcm, np.int16) * 10 ** (decibels / 20)
    return bytes(np.clip(samples, -32_768, 32_767).astype(np.int16))


def noisy(pcm: bytes, decibels: float, random: np.random.Generator) -> bytes:
    """With white noise at this signal-to-noise ratio."""
    samples = np.frombuffer(pcm, np.int16).astype(np.float64)
    noise = random.standard_normal(len(samples)) * np.sqrt(np.mean(samples**2) / 10 ** (decibels / 10))
    return bytes(np.clip(samples + noise, -32_768, 32_767).astype(np.int16))


def difficult() -> list[bytes]:
    """Ten difficult utterances: in loud noise, without pauses, and the same sentence over and over."""
    said, random = sentences("meeting"), np.random.default_rng(1)
    return [
        *(noisy(said[index].pcm, -5, random) for index in (1, 2, 3, 4)),
        *(noisy(packed(said[index] for index in random.permutation(len(said))), 5, random) for _ in range(3)),
        *(packed([said[index]] * 9) for index in (1, 4, 7)),
    ]
