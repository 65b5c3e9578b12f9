"""Fixtures: the tiny model, loaded once, and the sentences of the samples."""

from __future__ import annotations

import pytest

from processors.stt.whisper.backend import Whisper
from tests.processors.stt.sounds import MICRO, Sentence, sentences

SPOKEN = ("standup", "meeting", "korean", "quiet", "noisy", "monologue")


@pytest.fixture(scope="session")
def whisper() -> Whisper:
    """May be used by two threads at the same time."""
    return Whisper(MICRO, device="cpu", compute_type="int8", workers=2, threads=1)


@pytest.fixture(scope="session")
def spoken() -> list[Sentence]:
    """Every sentence of the samples."""
    return [sentence for name in SPOKEN for sentence in sentences(name)]
