"""Synthetic sounds without speech; reproducible, so that no files are needed."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from audio import RATE
from tests.processors.stt.acoustics import Sound, band, decay, level, noise, note, pcm, place, swell, time, tone

Maker = Callable[[np.random.Generator], Sound]

_MAKERS: dict[str, Maker] = {}


def names() -> list[str]:
    """Names for `made`."""
    return list(_MAKERS)


def made(name: str, variant: int = 0) -> bytes:
    """A sound of 3 to 10 s, mono s16le at 16 kHz. Variants have different random numbers."""
    seed = zlib.crc32(f"{name} {variant}".encode() if variant else name.encode())
    return pcm(_MAKERS[name](np.random.default_rng(seed)))


def _named(name: str) -> Callable[[Maker], Maker]:
    def keep(make: Maker) -> Maker:
        _MAKERS[name] = make
        return make

    return keep


@_named("digital silence")
def _(random: np.random.Generator) -> Sound:
    return np.zeros(5 * RATE)


@_named("a single offset, as from a cheap card")
def _(random: np.random.Generator) -> Sound:
    return np.full(4 * RATE, 0.02)


for _colour, _slope in (("white", 0.0), ("pink", 1.0), ("brown", 2.0)):
    for _decibels in (-60, -40, -25, -12):

        @_named(f"{_colour} noise at {_decibels} dB")
        def _(random: np.random.Generator, slope: float = _slope, decibels: float = _decibels) -> Sound:
            return level(noise(random, 5, slope), decibels)


for _mains in (50, 60):

    @_named(f"mains hum of {_mains} Hz")
    def _(random: np.random.Generator, mains: float = _mains) -> Sound:
        hum = level(tone(mains, 6, (1, 0.3, 0.6, 0.1, 0.35, 0.05, 0.2, 0.03, 0.1)), -22)
        return hum + level(noise(random, 6, 1), -60)


@_named("keyboard")
def _(random: np.random.Generator) -> Sound:
    strokes = []
    at = 0.4
    while at < 7.5:
        for offset, loud in ((0.0, 1.0), (random.uniform(0.05, 0.09), 0.4)):  # down and up
            click = band(noise(random, 0.03), random.uniform(900, 1_500), random.uniform(4_000, 7_000))
            strokes.append((at + offset, level(click * decay(0.03, 0.005), -16) * loud))
        at += random.choice((0.11, 0.14, 0.2, 0.6))
    return place(8, *strokes) + level(noise(random, 8, 1), -62)


@_named("mouse clicks")
def _(random: np.random.Generator) -> Sound:
    events = [(at, 0.5 * random.standard_normal(60) * np.exp(-np.arange(60) / 12)) for at in (0.5, 0.62, 2.1, 3.3, 3.4)]
    return place(5, *events) + level(noise(random, 5, 1), -65)


@_named("breathing")
def _(random: np.random.Generator) -> Sound:
    breaths = []
    for at in (0.3, 3.1, 5.9):
        breaths.append((at, level(band(noise(random, 1.1), 500, 3_500) * swell(1.1), -32)))
        breaths.append((at + 1.3, level(band(noise(random, 1.4), 250, 2_000) * swell(1.4), -28)))
    return place(9, *breaths) + level(noise(random, 9, 1), -68)


@_named("chords")
def _(random: np.random.Generator) -> Sound:
    def chord(root: int, thirds: tuple[int, int]) -> Sound:
        notes = [root, root + thirds[0], root + sum(thirds)]
        struck = sum((tone(note(n), 1.9, (1, 0.5, 0.3, 0.2, 0.1)) for n in notes), np.zeros(round(1.9 * RATE)))
        return 0.07 * struck * decay(1.9, 0.9)

    progression = ((60, (4, 3)), (57, (3, 4)), (53, (4, 3)), (55, (4, 3)))
    return place(8, *((2.0 * turn, chord(*step)) for turn, step in enumerate(progression)))


@_named("organ pad")
def _(random: np.random.Generator) -> Sound:
    pad = sum(tone(note(n) * detune, 8, (1, 0.4, 0.25)) for n in (48, 55, 64) for detune in (0.998, 1.002))
    return level(np.asarray(pad) * swell(8), -24)


@_named("arpeggio")
def _(random: np.random.Generator) -> Sound:
    notes = [60, 64, 67, 72, 67, 64] * 5
    return place(
        7,
        *((0.2 * i, 0.25 * tone(note(n), 0.5, (1, 0.4, 0.15)) * decay(0.5, 0.18)) for i, n in enumerate(notes)),
    )


@_named("whistled melody")
def _(random: np.random.Generator) -> Sound:
    parts = []
    for i, n in enumerate((76, 79, 81, 79, 76, 74, 76, 72)):
        vibrato = 8 * np.sin(2 * np.pi * 5.5 * time(0.6))
        phase = 2 * np.pi * np.cumsum(note(n) + vibrato) / RATE
        parts.append((0.3 + 0.65 * i, 0.2 * np.sin(phase) * swell(0.6) ** 0.5))
    return place(6, *parts) + level(noise(random, 6, 1), -62)


@_named("drum loop")
def _(random: np.random.Generator) -> Sound:
    def kick() -> Sound:
        t = time(0.3)
        sweep = np.asarray(np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t / 0.03)))))
        return 0.7 * sweep * decay(0.3, 0.09)

    def snare() -> Sound:
        return 0.4 * band(random.standard_normal(round(0.2 * RATE)), 800, 6_000) * decay(0.2, 0.06)

    def hat() -> Sound:
        return 0.15 * band(random.standard_normal(round(0.08 * RATE)), 5_000, 7_900) * decay(0.08, 0.02)

    beats = [(b * 0.5, kick()) for b in range(0, 16, 2)] + [(b * 0.5, snare()) for b in range(1, 16, 2)]
    return place(8, *beats, *((b * 0.25, hat()) for b in range(32)))


@_named("song without a singer")
def _(random: np.random.Generator) -> Sound:
    bass = [(0.5 * i, 0.2 * tone(note(n), 0.45, (1, 0.6, 0.3)) * decay(0.45, 0.3)) for i, n in enumerate([36, 43] * 8)]
    lead = [
        (0.25 * i, 0.12 * tone(note(n), 0.24, (1, 0, 0.33, 0, 0.2, 0, 0.14)) * decay(0.24, 0.2))
        for i, n in enumerate(random.choice((60, 62, 64, 67, 69, 72), 32))
    ]
    hats = [(0.25 * i, 0.05 * random.standard_normal(800) * np.exp(-np.arange(800) / 200)) for i in range(32)]
    return place(8, *bass, *lead, *hats)


@_named("ringing telephone")
def _(random: np.random.Generator) -> Sound:
    ring = level(tone(440, 2) + tone(480, 2), -18)
    return place(9, (0.5, ring), (6.5, ring)) + level(noise(random, 9, 1), -65)


@_named("electronic ring tone")
def _(random: np.random.Generator) -> Sound:
    phrase = [(i * 0.12, 0.25 * tone(note(n), 0.11, (1, 0, 0.3, 0, 0.1))) for i, n in enumerate([88, 86, 78, 80] * 2)]
    melody = place(1.1, *phrase)
    return place(6, (0.3, melody), (2.2, melody), (4.1, melody))


@_named("busy tone")
def _(random: np.random.Generator) -> Sound:
    return place(5, *((0.2 + i, level(tone(425, 0.5), -20)) for i in range(5)))


@_named("dialled digits")
def _(random: np.random.Generator) -> Sound:
    rows, columns = (697, 770, 852, 941), (1_209, 1_336, 1_477)
    keys = [(rows[d // 3], columns[d % 3]) for d in (0, 1, 2, 10, 4, 8, 6, 3, 7, 5)]
    return place(
        5, *((0.3 + 0.35 * i, level(tone(low, 0.18) + tone(high, 0.18), -16)) for i, (low, high) in enumerate(keys))
    )


@_named("beeps")
def _(random: np.random.Generator) -> Sound:
    return place(6, *((0.5 + i, 0.3 * tone(1_000, 0.2)) for i in range(5))) + level(noise(random, 6, 1), -60)


@_named("coughs")
def _(random: np.random.Generator) -> Sound:
    def cough() -> Sound:
        burst = band(noise(random, 0.35), 300, 4_500) * np.minimum(time(0.35) / 0.01, 1) * decay(0.35, 0.08)
        rest = band(noise(random, 0.35), 400, 2_500) * swell(0.35) * 0.3
        return level(burst + rest, -16)

    return place(7, *((at, cough()) for at in (0.6, 1.1, 3.4, 3.9, 4.4))) + level(noise(random, 7, 1), -64)


@_named("claps")
def _(random: np.random.Generator) -> Sound:
    def clap() -> Sound:
        return level(band(noise(random, 0.12), 700, 3_500) * decay(0.12, 0.02), -14)

    return place(6, *((0.4 + 0.45 * i + random.uniform(0, 0.03), clap()) for i in range(11)))


@_named("applause")
def _(random: np.random.Generator) -> Sound:
    sound = np.zeros(6 * RATE)
    for at in random.uniform(0, 5.9, 1_200):
        sound += place(6, (at, random.uniform(0.02, 0.1) * random.standard_normal(400) * np.exp(-np.arange(400) / 90)))
    return level(band(sound, 500, 5_000), -22)


@_named("door slam")
def _(random: np.random.Generator) -> Sound:
    def slam() -> Sound:
        thump = band(noise(random, 1.2, 1), 40, 400) * decay(1.2, 0.12)
        latch = band(noise(random, 1.2), 1_000, 5_000) * decay(1.2, 0.015)
        return level(thump, -18) + level(latch, -34)

    return place(5, (0.7, slam()), (3.0, slam())) + level(noise(random, 5, 1), -62)


@_named("footsteps")
def _(random: np.random.Generator) -> Sound:
    def step() -> Sound:
        return level(band(noise(random, 0.2, 1), 60, 900) * decay(0.2, 0.03), -26)

    return place(7, *((0.4 + 0.55 * i, step()) for i in range(12))) + level(noise(random, 7, 1), -60)


@_named("paper")
def _(random: np.random.Generator) -> Sound:
    crackle = band(noise(random, 6), 1_500, 7_000) * (np.abs(band(noise(random, 6), 5, 40)) ** 2)
    return level(crackle, -30) + level(noise(random, 6, 1), -64)


@_named("sweeping fan")
def _(random: np.random.Generator) -> Sound:
    t = time(10)
    sweep = 0.6 + 0.4 * np.sin(2 * np.pi * 0.2 * t)
    blades = 1 + 0.3 * np.sin(2 * np.pi * np.cumsum(28 + 3 * np.sin(2 * np.pi * 0.1 * t)) / RATE)
    return level(band(noise(random, 10, 1), 60, 3_000) * sweep * blades, -30)


@_named("engine")
def _(random: np.random.Generator) -> Sound:
    t = time(8)
    phase = 2 * np.pi * np.cumsum(70 + 25 * np.sin(2 * np.pi * 0.15 * t)) / RATE
    strokes = sum((np.sin(k * phase) / k for k in range(1, 14)), np.zeros(len(t)))
    return level(strokes * (1 + 0.2 * band(noise(random, 8), 2, 20)), -22)


@_named("siren")
def _(random: np.random.Generator) -> Sound:
    t = time(8)
    phase = 2 * np.pi * np.cumsum(900 + 350 * np.sin(2 * np.pi * 0.4 * t)) / RATE
    return level(np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase), -20)


@_named("rain")
def _(random: np.random.Generator) -> Sound:
    drops = np.zeros(6 * RATE)
    drops[random.integers(0, len(drops), 900)] = random.exponential(1.0, 900)
    return level(band(drops, 1_000, 7_000), -36) + level(noise(random, 6, 0.5), -42)


@_named("dog")
def _(random: np.random.Generator) -> Sound:
    def bark() -> Sound:
        t = time(0.25)
        phase = 2 * np.pi * np.cumsum(520 * np.exp(-t / 0.35)) / RATE
        voice = sum((np.sin(k * phase) / k**0.7 for k in range(1, 9)), np.zeros(len(t)))
        return level((voice + 0.8 * random.standard_normal(len(t))) * np.minimum(t / 0.015, 1) * decay(0.25, 0.08), -14)

    return place(6, *((at, bark()) for at in (0.5, 0.9, 2.6, 3.0, 3.4, 5.0))) + level(noise(random, 6, 1), -62)
