"""What happens to speech before it is transcribed: noise, a telephone, a hall, distance. All of it is reproducible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from audio import RATE, WIDTH
from tests.processors.stt.acoustics import Sound, band, decay, noise, note, place, time, tone
from tests.processors.stt.acoustics import pcm as to_pcm
from tests.processors.stt.degraded import in_a_hall, louder, on_the_telephone

NOISES = ("white", "pink", "brown", "hum", "babble", "fan", "clicks", "chords")

RATIOS = (20, 15, 10, 5, 0)
"""Signal-to-noise ratios in dB."""


def mix(speech: Sound, other: Sound, decibels: float) -> Sound:
    """Speech with another sound at this signal-to-noise ratio: of mean powers, pauses included.

    The other sound is repeated or cut to the length of the speech. Both are then made softer if they would clip.
    """
    repeated = np.resize(other, len(speech))
    gain = np.sqrt(np.mean(speech**2) / np.mean(repeated**2)) * 10 ** (-decibels / 20)
    mixed = speech + gain * repeated
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())))


def background(name: str, seconds: float, voices: Sequence[Sound]) -> Sound:
    """One of NOISES. voices: of those who talk in `babble`."""
    random = np.random.default_rng(NOISES.index(name))
    if name == "babble":
        return babble(voices, seconds, random)
    return _MAKERS[name](seconds, random)


def babble(voices: Sequence[Sound], seconds: float, random: np.random.Generator) -> Sound:
    """All voices at once, equally loud, each repeated from a random place on."""
    total = np.zeros(round(seconds * RATE))
    for voice in voices:
        turned = np.roll(voice / np.sqrt(np.mean(voice**2)), int(random.integers(len(voice))))
        total += np.resize(turned, len(total))
    return total


def _hum(seconds: float, random: np.random.Generator) -> Sound:
    return tone(50, seconds, (1, 0.3, 0.6, 0.1, 0.35, 0.05, 0.2, 0.03, 0.1)) + 0.02 * noise(random, seconds)


def _fan(seconds: float, random: np.random.Generator) -> Sound:
    blades = 1 + 0.3 * np.sin(2 * np.pi * 28 * time(seconds))
    return np.asarray(band(noise(random, seconds, 1), 60, 3_000) * blades)


def _clicks(seconds: float, random: np.random.Generator) -> Sound:
    places = np.sort(random.uniform(0, seconds, round(4 * seconds)))
    click = band(noise(random, 0.03), 900, 6_000) * decay(0.03, 0.005)
    return place(seconds, *((at, random.uniform(0.3, 1) * click) for at in places))


def _chords(seconds: float, random: np.random.Generator) -> Sound:
    struck = []
    for turn in range(int(seconds / 2) + 1):
        root = int(random.choice((53, 55, 57, 60)))
        notes = sum((tone(note(root + step), 1.9, (1, 0.5, 0.3, 0.2, 0.1)) for step in (0, 4, 7)), np.zeros(30_400))
        struck.append((2.0 * turn, notes * decay(1.9, 0.9)))
    return place(seconds, *struck)


_MAKERS: dict[str, Callable[[float, np.random.Generator], Sound]] = {
    "white": lambda seconds, random: noise(random, seconds, 0),
    "pink": lambda seconds, random: noise(random, seconds, 1),
    "brown": lambda seconds, random: noise(random, seconds, 2),
    "hum": _hum,
    "fan": _fan,
    "clicks": _clicks,
    "chords": _chords,
}


def telephone(pcm: bytes) -> bytes:
    """300 to 3,400 Hz, through mu-law at 8 kHz (ITU-T G.711, as its formula) and back."""
    narrow = np.frombuffer(on_the_telephone(pcm), "<i2")[::2] / 32_768
    coded = np.rint(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    stuffed = np.zeros(len(pcm) // WIDTH)
    stuffed[::2] = 2 * np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return on_the_telephone(to_pcm(stuffed))


CHANNELS: dict[str, Callable[[bytes], bytes]] = {
    "telephone": telephone,
    "hall": in_a_hall,
    "20 dB quieter": partial(louder, -20),
}
"""Changes of mono s16le at 16 kHz that need no other sound, by name."""
