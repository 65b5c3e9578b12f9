"""Spoken sentences on disk: one .npz file of sound and text."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Utterance(NamedTuple):
    spoken: str
    language: str
    voice: str
    sound: NDArray[np.int16]  # mono, 16 kHz


def save(path: Path, utterances: Iterable[Utterance]) -> None:
    spoken, language, voice, sound = zip(*utterances, strict=True)
    lengths = [len(samples) for samples in sound]
    np.savez(path, spoken=spoken, language=language, voice=voice, lengths=lengths, sound=np.concatenate(sound))


def load(path: Path) -> list[Utterance]:
    with np.load(path) as file:
        sounds = np.split(file["sound"], np.cumsum(file["lengths"])[:-1])
        columns = (file["spoken"].tolist(), file["language"].tolist(), file["voice"].tolist(), sounds)
        return [Utterance(*row) for row in zip(*columns, strict=True)]
