from __future__ import annotations

import numpy as np
import pytest

from audio import RATE
from bench.people import NOISE_DB, PEOPLE, load_people, noisy
from bench.speech import PADDING, Sentence, arrivals, tape

pytestmark = pytest.mark.real

EDGE = round(PADDING * RATE)


@pytest.fixture(scope="module")
def utterances() -> list[Sentence]:
    return load_people()


def level(sound: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """In dB of full scale."""
    return float(10 * np.log10(np.mean((sound / 32_768) ** 2)))


def test_each_utterance_begins_and_ends_where_it_is_said_to(utterances: list[Sentence]) -> None:
    assert all(2 <= utterance.spoken <= 5 for utterance in utterances)
    for utterance in utterances:
        sound = np.frombuffer(utterance.pcm, np.int16).astype(np.float64)
        speech = level(sound[EDGE:-EDGE])
        assert level(sound[:EDGE]) < speech - 8, utterance.text
        assert level(sound[-EDGE:]) < speech - 8, utterance.text
        tail = sound[-EDGE - RATE // 5 : -EDGE]  # a pause before a late end would be as quiet as what follows
        assert level(tail) > level(sound[-EDGE + RATE // 50 : -EDGE + RATE // 20]) + 1, utterance.text


def test_streams_say_14_utterances_a_minute_most_of_them_in_order(utterances: list[Sentence]) -> None:
    said = arrivals(utterances, 20, 120.0, 1, PEOPLE)
    assert len(said) / 20 / 2 == pytest.approx(14, rel=0.05)
    _, words = tape(utterances, 120.0, 1, PEOPLE)
    order = [one.sentence for one in words]
    assert [(which - order[0]) % len(utterances) for which in order[:5]] == [0, 1, 2, 3, 4]


def test_noise_lies_as_far_below_the_speech_as_is_said(utterances: list[Sentence]) -> None:
    for clean, noise in zip(utterances, noisy(utterances), strict=True):
        before, after = (np.frombuffer(pcm, np.int16).astype(np.float64) for pcm in (clean.pcm, noise.pcm))
        below = level(before[EDGE:-EDGE]) - level((after - before)[EDGE:-EDGE])
        assert below == pytest.approx(NOISE_DB, abs=0.5)
