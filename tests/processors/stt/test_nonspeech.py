"""Where nobody speaks there is no text: made sounds through the real segmenter and the real engine."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import pytest

from audio import RATE, WIDTH, to_float32
from contract import SpeechOptions
from processors.stt.filters.speech import SpeechDetector, has_speech
from processors.stt.whisper.engine import Engine
from processors.vad.classifier import webrtc_detector
from processors.vad.core import Parameters, Segmenter
from tests.processors.stt.nonspeech import made, names

MICRO = Path(__file__).parents[3] / "models/whisper-micro"


@cache
def segments(name: str, variant: int = 0) -> tuple[bytes, ...]:
    """What the segmenter, with its usual settings, takes for speech."""
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters())
    return tuple(segment.pcm for segment in segmenter.feed(made(name, variant)) + segmenter.finish())


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(str(MICRO), device="cpu", workers=1, threads=2)


@pytest.fixture(scope="module")
def speech() -> SpeechDetector:
    return SpeechDetector()


def test_there_are_many_sounds_and_each_is_the_same_every_time() -> None:
    sounds = {name: made(name) for name in names()}
    assert sounds == {name: made(name) for name in names()}
    assert len(set(sounds.values())) == len(sounds) >= 20
    assert all(3 <= len(pcm) / (RATE * WIDTH) <= 10 for pcm in sounds.values())


def test_the_segmenter_alone_does_not_keep_them_out() -> None:
    assert sum(bool(segments(name)) for name in names()) >= 25


@pytest.mark.parametrize("name", names())
def test_no_speech_is_found_in_them(speech: SpeechDetector, name: str) -> None:
    assert not any(has_speech(speech.probabilities(to_float32(pcm))) for pcm in segments(name))


def test_what_chance_makes_of_them_is_seldom_taken_for_speech(speech: SpeechDetector) -> None:
    """Not never: footsteps in the rhythm of syllables can be."""
    sounds = [to_float32(pcm) for name in names() for v in (1, 2, 3) for pcm in segments(name, v)]
    found = [has_speech(speech.probabilities(sound)) for sound in sounds]
    assert len(found) > 100
    assert sum(found) / len(found) < 0.03


@pytest.mark.parametrize("name", names())
def test_they_become_no_words(engine: Engine, name: str) -> None:
    heard = [engine.transcribe(pcm, SpeechOptions()) for pcm in segments(name)]
    assert [segment.text for one in heard for segment in one.segments] == []
