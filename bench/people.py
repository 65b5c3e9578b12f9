"""Utterances of real people, cut out of the recordings of `tools.assets`: what streams say to stock models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audio import decode
from bench.speech import PADDING, Pace, Sentence, room_noise
from contract import RATE
from processors.stt.whisper.models import find_model
from tools import assets
from tools.system import MODEL

PEOPLE = Pace(every=60 / 14, least_pause=0.9, in_order=True)
"""14 utterances a minute."""

NOISE_DB = 10.0
"""Signal to noise of the noisy utterances."""

_AROUND = 0.08
"""Seconds of the recording before and after the speech; the nearest other speech is twice as far."""

_CUTS = (
    ("two_cities", 1.19, 4.56, "It was the best of times, it was the worst of times,"),
    ("two_cities", 5.02, 8.21, "it was the age of wisdom, it was the age of foolishness,"),
    ("two_cities", 8.81, 12.78, "it was the epoch of belief, it was the epoch of incredulity,"),
    ("two_cities", 13.47, 16.69, "it was the season of light, it was the season of darkness,"),
    ("two_cities", 17.56, 20.47, "it was the spring of hope, it was the winter of despair,"),
    ("two_cities", 21.24, 24.01, "we had everything before us, we had nothing before us,"),
    ("two_cities", 24.64, 28.28, "we were all going direct to heaven, we were all going direct the other way."),
    ("two_cities", 29.10, 32.22, "In short, the period was so far like the present period,"),
    ("two_cities", 32.79, 36.52, "that some of its noisiest authorities insisted on its being received,"),
    ("two_cities", 36.94, 41.65, "for good or for evil, in the superlative degree of comparison only."),
    ("sense_and_sensibility_01_austen_64kb-0880", 0.26, 2.80, "He was not an ill-disposed young man."),
    ("sense_and_sensibility_01_austen_64kb-0930", 0.28, 2.88, "He might even have been made amiable himself."),
    ("cold_corpus", 9.79, 12.74, "The recording environment is also quite different,"),
    ("cold_corpus3", 3.80, 5.90, "Hopefully the recording levels are okay."),
    (
        "61-70968-0000",
        *(0.30, 4.54),
        "He began a confused complaint against the wizard who had vanished behind the curtain on the left.",
    ),
    ("multilingual_ipa_us", 0.26, 2.66, "Uh, with only like four games to go."),
    (
        "multilingual_ipa_us_3",
        *(0.15, 3.22),
        "Really good performances against top teams that have ended up going their way.",
    ),
    (
        "multilingual_ipa_us_5",
        0.19,
        4.46,
        "And this was the first time I think the Justice really looked like an elite team.",
    ),
)
"""Name of the recording, start and end of the speech in seconds, and what is said. The ends were read from the energy
of frames of 10 ms: between them lies what is at least 6 dB above the room's noise."""


def understands_people(model: str) -> bool:
    """Whether it is not whisper-micro; fetches what `tools.assets` has. Raises AssetError, StartError."""
    if model in assets.MODELS:
        assets.model(model)
    return find_model(model).resolve() != MODEL


def load_people() -> list[Sentence]:
    """English utterances of 2 to 5 s, in order, with PADDING around. Raises AssetError where they cannot be had."""
    paths = {recording.path.stem: recording.path for recording in assets.people()}
    sounds = {name: np.frombuffer(b"".join(decode(paths[name])), np.int16) for name in {name for name, *_ in _CUTS}}
    return [
        Sentence(text, "en", _padded(sounds[name], start, end, seed).tobytes())
        for seed, (name, start, end, text) in enumerate(_CUTS)
    ]


def _padded(sound: NDArray[np.int16], start: float, end: float, seed: int) -> NDArray[np.int16]:
    padding, around = round(PADDING * RATE), round(_AROUND * RATE)
    first, last = round(start * RATE), round(end * RATE)
    found = room_noise(last - first + 2 * padding, seed)
    cut = sound[max(0, first - around) : last + around]
    at = padding - min(around, first)
    found[at : at + len(cut)] = cut
    return found


def noisy(sentences: list[Sentence]) -> list[Sentence]:
    """The same in white noise, NOISE_DB below the speech."""
    found = []
    for seed, sentence in enumerate(sentences):
        sound = np.frombuffer(sentence.pcm, np.int16).astype(np.float64)
        speech = sound[round(PADDING * RATE) : -round(PADDING * RATE)]
        amplitude = np.sqrt(np.mean(speech**2)) / 10 ** (NOISE_DB / 20)
        mixed = sound + np.random.default_rng(seed).normal(0, amplitude, len(sound))
        pcm = np.clip(np.rint(mixed), -32_768, 32_767).astype(np.int16).tobytes()
        found.append(Sentence(sentence.text, sentence.language, pcm))
    return found
