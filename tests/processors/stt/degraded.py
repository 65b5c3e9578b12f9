"""The committed samples, degraded in several ways and cut by the segmenter."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np

from audio import RATE
from processors.vad.core import Parameters, Segment, Segmenter
from processors.vad.settings import webrtc_detector
from tests.processors.stt.sounds import SAMPLES, noisy, sound

SPOKEN = ("standup", "meeting", "korean", "quiet", "noisy", "monologue")


def louder(decibels: float, pcm: bytes) -> bytes:
    samples = np.frombuffer(pcm, "<i2") * 10 ** (decibels / 20)
    return np.rint(samples).clip(-32_768, 32_767).astype("<i2").tobytes()


def with_noise(decibels: float, pcm: bytes) -> bytes:
    return noisy(pcm, decibels, np.random.default_rng(5))


def on_the_telephone(pcm: bytes) -> bytes:
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    size = _fast_size(len(samples))
    spectrum = np.fft.rfft(samples, size)
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    spectrum[(frequencies < 300) | (frequencies > 3_400)] = 0
    return np.rint(np.fft.irfft(spectrum, size)[: len(samples)]).clip(-32_768, 32_767).astype("<i2").tobytes()


def _fast_size(length: int) -> int:
    """The next power of two: an FFT of another length can take a hundred times as long."""
    return 1 << (length - 1).bit_length()


def in_a_hall(pcm: bytes) -> bytes:
    """With reverberation of 0.6 s."""
    count = round(0.6 * RATE)
    echo = np.random.default_rng(3).standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    echo[0] = 3
    samples = np.frombuffer(pcm, "<i2") / np.sqrt(np.square(echo).sum())
    size = _fast_size(len(samples) + count)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)[: len(samples)]
    return np.rint(wet).clip(-32_768, 32_767).astype("<i2").tobytes()


DEGRADATIONS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "20 dB softer": partial(louder, -20),
    "30 dB softer": partial(louder, -30),
    "noise 10 dB below": partial(with_noise, 10),
    "noise 5 dB below": partial(with_noise, 5),
    "noise as loud": partial(with_noise, 0),
    "on the telephone": on_the_telephone,
    "in a hall": in_a_hall,
}


def segments_with_speech(name: str, degradation: str) -> list[Segment]:
    """Segments of a sample, cut with the default settings, that contain at least a third of a sentence."""
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters())
    said = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))["sentences"]
    cut = segmenter.feed(DEGRADATIONS[degradation](sound(name))) + segmenter.finish()
    return [
        segment
        for segment in cut
        if any(min(s["end"], segment.end) - max(s["start"], segment.start) > (s["end"] - s["start"]) / 3 for s in said)
    ]
