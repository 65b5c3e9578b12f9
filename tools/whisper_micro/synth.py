"""Step 1: random sentences of the grammar, spoken by random voices."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tools.whisper_micro import corpus
from tools.whisper_micro.corpus import Utterance
from tools.whisper_micro.grammar import sentence
from tools.whisper_micro.voice import speak

_ACCENTS = ["en-us", "en-gb", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-029"]
_VARIANTS = ["m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "f5", "", ""]
_HELD_OUT = ["m5", "f4", "m8"]
_KOREAN_SHARE = 0.33
_TEST_SENTENCES = 600
_TEST_SEED = 999


def synthesize(folder: Path, sentences: int, seed: int) -> None:
    """Write train.npz, and test.npz with voices that are not in the training data."""
    train = _speak_all(sentences, seed, _VARIANTS)
    test = _speak_all(min(sentences, _TEST_SENTENCES), _TEST_SEED, _HELD_OUT)
    corpus.save(folder / "train.npz", train)
    corpus.save(folder / "test.npz", test)
    print(f"{sum(len(utterance.sound) for utterance in train) / 16_000 / 3_600:.2f} h of speech")


def _speak_all(count: int, seed: int, variants: list[str]) -> list[Utterance]:
    random = Random(seed)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda task: _speak(*task), [_draw(random, variants) for _ in range(count)]))


def _draw(random: Random, variants: list[str]) -> tuple[str, str, str, int, int]:
    language = "ko" if random.random() < _KOREAN_SHARE else "en"
    spoken = sentence(language, random)
    accent = "ko" if language == "ko" else random.choice(_ACCENTS)
    variant = random.choice(variants)
    return (
        spoken,
        language,
        f"{accent}+{variant}" if variant else accent,
        random.randint(125, 205),
        random.randint(25, 75),
    )


def _speak(spoken: str, language: str, voice: str, speed: int, pitch: int) -> Utterance:
    return Utterance(spoken, language, voice, speak(spoken, voice, speed, pitch))
