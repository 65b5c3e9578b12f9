from __future__ import annotations

from itertools import pairwise
from statistics import mean

import numpy as np
import pytest

from audio import RATE
from bench.speech import (
    EVERY,
    LEAST_PAUSE,
    PADDING,
    Sentence,
    arrivals,
    duty_cycle,
    load_sentences,
    tape,
    word_error_rate,
)
from tools.system import ROOT


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return load_sentences(ROOT / "samples")


def test_the_samples_give_sentences_of_both_languages_with_padding(sentences: list[Sentence]) -> None:
    assert {sentence.language for sentence in sentences} == {"en", "ko"}
    (first,) = (s for s in sentences if s.text == "Action item Brian to update the website before Friday.")
    assert first.spoken == pytest.approx((418_844 - 360_296) / RATE)
    edge = np.frombuffer(first.pcm, np.int16)[: int(PADDING * RATE * 0.9)]
    assert np.abs(edge).max() < 100  # nobody else is heard in it


def test_streams_have_a_sentence_as_often_as_said_and_pause_between(sentences: list[Sentence]) -> None:
    said = arrivals(sentences, 50, 100.0, seed=1)
    assert all(0 <= arrival.at < 100 for arrival in said)
    assert [arrival.at for arrival in said] == sorted(arrival.at for arrival in said)
    assert 50 * 100 / len(said) == pytest.approx(EVERY, rel=0.03)
    spoken = sum(sentences[arrival.sentence].spoken for arrival in said) / (50 * 100)
    assert spoken == pytest.approx(duty_cycle(sentences), rel=0.04)
    one = [arrival for arrival in said if arrival.stream == 7]
    for before, after in pairwise(one):
        assert after.at - before.at - sentences[after.sentence].spoken >= LEAST_PAUSE - 1e-9


def test_a_tape_has_each_of_its_sentences_whole_with_silence_behind(sentences: list[Sentence]) -> None:
    pcm, said = tape(sentences, 20.0, seed=3)
    assert len(pcm) == 20 * RATE * 2
    assert 3 <= len(said) <= 8
    sound = np.frombuffer(pcm, np.int16).astype(float)
    for one in said:
        padding = round(PADDING * RATE)
        assert pcm[(one.start - padding) * 2 : (one.end + padding) * 2] == sentences[one.sentence].pcm
    assert np.abs(sound[-round((LEAST_PAUSE - PADDING) * RATE) :]).max() < 100
    assert mean(sound**2) > 100  # there is speech in it


def test_word_errors_do_not_count_case_and_punctuation() -> None:
    assert word_error_rate(["I agree.", "See you."], ["i agree", "see you"]) == 0
    assert word_error_rate(["I agree.", "See you."], ["I agree", "See him"]) == 0.25
    assert word_error_rate(["회의를 마치겠습니다."], [""]) == 1
