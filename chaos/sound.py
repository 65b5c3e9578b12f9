"""The sound of the meetings: sentences of the samples, in an order and with pauses that follow from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np

from audio import RATE, WIDTH, decode

SPOKEN = ("standup", "meeting", "korean")
UNBROKEN = "monologue"
"""Speech without a pause, longer than the longest segment."""

_MARGIN = RATE // 5
"""Samples kept before and after a sentence."""

_FLOOR_DB = -78.0  # as in the samples
_LONG_PAUSE, _SHORT_PAUSE = (1.0, 3.5), (0.2, 0.5)
_SHORT_SHARE = 0.2
_UNBROKEN_FROM = 80.0
"""Seconds from which on a meeting has an unbroken part."""

_SHORTEST, _LONGEST = 15.0, 120.0


def clips(folder: Path) -> tuple[list[bytes], bytes]:
    """The sentences of the samples one by one, and the unbroken speech; mono s16le at 16 kHz."""
    found = []
    for name in SPOKEN:
        pcm = b"".join(decode(folder / f"{name}.flac"))
        script = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for sentence in script["sentences"]:
            start, end = max(0, sentence["start"] - _MARGIN), sentence["end"] + _MARGIN
            found.append(pcm[start * WIDTH : end * WIDTH])
    return found, b"".join(decode(folder / f"{UNBROKEN}.flac"))


def lengths(random: Random, seconds: float) -> list[float]:
    """How long the meetings are that one room holds, one after the other, in `seconds`."""
    found: list[float] = []
    left = seconds
    while left > _SHORTEST:
        # A room's last meeting outlives the faults; the others end while they come.
        most = min(_LONGEST, max(_SHORTEST, 0.7 * left))
        length = left if left < 2 * _SHORTEST else random.uniform(_SHORTEST, most)
        found.append(length)
        left -= length
    return found or [seconds]


def meeting(random: Random, sentences: Sequence[bytes], unbroken: bytes, seconds: float) -> bytes:
    """The sound of one meeting; its last sentence is whole, so it may be some seconds longer."""
    noise = np.random.default_rng(random.getrandbits(32))
    place = random.uniform(0.2, 0.4) * seconds if seconds >= _UNBROKEN_FROM else None
    sound = bytearray()
    for pause in _pauses(random):
        sound += _silence(noise, pause)
        if place is not None and len(sound) >= place * RATE * WIDTH:
            sound += unbroken
            place = None
        else:
            sound += random.choice(sentences)
        if len(sound) >= seconds * RATE * WIDTH:
            break
    return bytes(sound + _silence(noise, random.uniform(0.1, 1.5)))


def _pauses(random: Random) -> Iterator[float]:
    while True:
        yield random.uniform(*(_SHORT_PAUSE if random.random() < _SHORT_SHARE else _LONG_PAUSE))


def _silence(noise: np.random.Generator, seconds: float) -> bytes:
    amplitude = 10 ** (_FLOOR_DB / 20) * 32_768
    return np.rint(noise.normal(0, amplitude, round(seconds * RATE))).astype("<i2").tobytes()
