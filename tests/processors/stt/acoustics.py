"""Synthetic sounds: noise, tones, envelopes, and mixing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audio import RATE

Sound = NDArray[np.float64]
"""A vector with full scale at 1."""


def pcm(sound: Sound) -> bytes:
    return np.rint(sound * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes()


def time(seconds: float) -> Sound:
    return np.arange(round(seconds * RATE)) / RATE


def level(sound: Sound, decibels: float) -> Sound:
    """The sound with this root mean square, in dB below full scale."""
    return np.asarray(sound * (10 ** (decibels / 20) / np.sqrt(np.mean(sound**2))))


def noise(random: np.random.Generator, seconds: float, slope: float = 0.0) -> Sound:
    """Noise with a power of f ** -slope: 0 is white, 1 pink, 2 brown; nothing below 20 Hz."""
    count = round(seconds * RATE)
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    gain = np.zeros(len(frequencies))
    gain[frequencies >= 20] = frequencies[frequencies >= 20] ** (-slope / 2)
    return np.fft.irfft(np.fft.rfft(random.standard_normal(count)) * gain, count)


def band(sound: Sound, low: float, high: float) -> Sound:
    """Band-pass filter with soft edges."""
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    gain = 1 / (1 + (low / np.maximum(frequencies, 1)) ** 8) / (1 + (frequencies / high) ** 8)
    return np.fft.irfft(np.fft.rfft(sound) * gain, len(sound))


def tone(frequency: float, seconds: float, harmonics: Sequence[float] = (1.0,)) -> Sound:
    """A fundamental and its harmonics with these amplitudes, up to half the sample rate."""
    t = time(seconds)
    sound = np.zeros(len(t))
    for number, amplitude in enumerate(harmonics, 1):
        if number * frequency < RATE / 2:
            sound += amplitude * np.sin(2 * np.pi * number * frequency * t)
    return sound


def place(seconds: float, *events: tuple[float, Sound]) -> Sound:
    """Mix sounds into silence of that length, each at its second; anything past the end is cut off."""
    line = np.zeros(round(seconds * RATE))
    for at, sound in events:
        start = round(at * RATE)
        part = sound[: max(0, len(line) - start)]
        line[start : start + len(part)] += part
    return line


def decay(seconds: float, constant: float) -> Sound:
    return np.exp(-time(seconds) / constant)


def swell(seconds: float) -> Sound:
    """An envelope that rises and falls."""
    return np.sin(np.pi * time(seconds) / seconds) ** 2


def note(midi: float) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))
