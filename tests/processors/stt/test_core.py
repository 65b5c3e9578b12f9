"""Values in, transcripts out: no engine, no bus."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Transcript, Utterance
from processors.stt.core import (
    Decoding,
    Heard,
    HeardSegment,
    HeardWord,
    Model,
    compression_ratio,
    confidence,
    failed_transcript,
    is_better,
    is_poor,
    is_silence,
    place_words,
)
from processors.stt.core import transcript as make

MODEL = Model("whisper-micro", "0123456789abcdef")
UTTERANCE = Utterance(job="weekly", index=3, start=32_000, end=64_000, pcm=bytes(64_000))


def segment(
    text: str, *words: HeardWord, tokens: int = 4, log_probability: float = -0.5, **more: float
) -> HeardSegment:
    values = {"compression_ratio": 1.0} | more
    return HeardSegment(text, tokens, log_probability, words=words, **values)


def heard(*segments: HeardSegment) -> Heard:
    return Heard(segments, "en", 0.98, no_speech_probability=0.25, decoding={"beam_size": 1, "task": "transcribe"})


def test_a_transcript_says_what_was_heard_and_how() -> None:
    words = HeardWord(" Good", 0.1, 0.5, 0.9), HeardWord(" morning.", 0.5, 1.0, 0.8)
    assert make(
        UTTERANCE, replace(heard(segment(" Good morning.", *words)), elapsed=0.25), MODEL
    ) == Transcript.model_validate(
        {
            "job": "weekly",
            "index": 3,
            "start": 32_000,
            "end": 64_000,
            "text": "Good morning.",
            "language": "en",
            "language_probability": 0.98,
            "confidence": math.exp(-0.5),
            "no_speech_probability": 0.25,
            "compression_ratio": 1.0,
            "words": [
                {"word": "Good", "start": 33_600, "end": 40_000, "probability": 0.9},
                {"word": "morning.", "start": 40_000, "end": 48_000, "probability": 0.8},
            ],
            "model": "whisper-micro",
            "model_hash": "0123456789abcdef",
            "decoding": {"beam_size": 1, "task": "transcribe"},
            "elapsed": 0.25,
        }
    )


def test_segments_become_one_text_and_the_worst_of_them_is_told() -> None:
    first = segment(" Good  morning.", HeardWord(" Good", 0, 0.5, 1), compression_ratio=0.8)
    second = segment(" Thank you. ", HeardWord(" Thank", 1, 1.5, 1), compression_ratio=2.5)
    made = make(UTTERANCE, heard(first, second), MODEL)
    assert made.text == "Good morning. Thank you."
    assert [word.word for word in made.words] == ["Good", "Thank"]
    assert made.compression_ratio == 2.5


def test_text_without_spaces_between_words_stays_so() -> None:
    assert make(UTTERANCE, heard(segment("会議を"), segment("始めます。")), MODEL).text == "会議を始めます。"


def test_what_was_heard_is_one_line() -> None:
    assert heard(segment(" Good\n morning. "), segment(" Thank  you.\u3000")).text == "Good morning. Thank you."
    assert heard().text == ""


def test_no_segments_is_a_transcript_without_words_and_no_error() -> None:
    made = make(UTTERANCE, heard(), MODEL)
    assert (made.text, made.words, made.confidence, made.error) == ("", [], 0.0, None)
    assert made.no_speech_probability == 0.25


def test_a_failed_transcript_takes_the_index_with_the_reason() -> None:
    made = failed_transcript(UTTERANCE, "RuntimeError: out of memory", MODEL)
    assert made.subject == "events.weekly.transcript.1.3"
    assert (made.start, made.end, made.text, made.error) == (32_000, 64_000, "", "RuntimeError: out of memory")
    assert (made.model, made.model_hash) == (MODEL.name, MODEL.hash)


def test_confidence_weighs_segments_by_their_tokens() -> None:
    segments = segment("a", tokens=30, log_probability=-0.1), segment("b", tokens=10, log_probability=-0.9)
    assert confidence(segments) == pytest.approx(math.exp(-0.3))


@pytest.mark.parametrize(("log_probability", "expected"), [(-math.inf, 0.0), (math.nan, 0.0), (1e-9, 1.0)])
def test_confidence_is_a_probability_whatever_the_engine_says(log_probability: float, expected: float) -> None:
    assert confidence([segment("a", log_probability=log_probability)]) == expected


def test_words_past_the_end_of_the_sound_end_with_it() -> None:
    placed = place_words([HeardWord(" late", 1.9, 2.4, 0.5), HeardWord(" later", 2.4, 2.8, 0.5)], 32_000, 64_000)
    assert [(word.start, word.end) for word in placed] == [(62_400, 64_000), (64_000, 64_000)]


def test_what_is_only_space_is_no_word() -> None:
    assert place_words([HeardWord(" ", 0, 1, 0.5)], 0, 16_000) == []


times = st.floats(-1, 40)
spoken = st.builds(HeardWord, st.text(), times, times, st.floats(-0.1, 1.1) | st.just(math.nan))


@given(st.lists(spoken), st.integers(0, 10**9), st.integers(0, 28 * 16_000))
def test_words_are_in_order_and_within_the_utterance(words: list[HeardWord], start: int, length: int) -> None:
    placed = place_words(words, start, start + length)
    edges = [start, *(edge for word in placed for edge in (word.start, word.end)), start + length]
    assert edges == sorted(edges)
    assert [word.word for word in placed] == [text for word in words if (text := word.text.strip())]


GOOD = Decoding(-0.3, 1.5, 0.0)
UNLIKELY = Decoding(-1.2, 1.5, 0.0)
LESS_LIKELY = Decoding(-1.3, 0.5, 0.0)
REPETITIVE = Decoding(-0.1, 5.0, 0.0)
SILENCE = Decoding(-1.2, 1.5, 0.7)


@pytest.mark.parametrize(
    ("decoding", "poor"),
    [
        (GOOD, False),
        (Decoding(-1.0, 2.4, 0.0), False),
        (UNLIKELY, True),
        (REPETITIVE, True),
        (Decoding(-0.1, 5.0, 0.9), True),
        (SILENCE, False),
        (Decoding(-1.2, 5.0, 0.7), False),
        (Decoding(-1.2, 1.5, 0.6), True),
    ],
)
def test_poor_is_repetitive_or_unlikely_unless_nobody_speaks(decoding: Decoding, poor: bool) -> None:
    assert is_poor(decoding) == poor


@pytest.mark.parametrize(
    ("decoding", "silent"),
    [
        (GOOD, False),
        (SILENCE, True),
        (Decoding(-1.2, 1.5, 0.6), False),
        (Decoding(-1.0, 1.5, 0.7), True),
        (Decoding(-0.9, 1.5, 0.99), False),
        (Decoding(-1.2, 5.0, 0.7), True),
    ],
)
def test_silence_is_said_by_the_model_and_believed_only_of_unlikely_text(decoding: Decoding, silent: bool) -> None:
    assert is_silence(decoding) == silent


def test_compression_is_that_of_zlib() -> None:
    said = "good morning everyone " * 9
    assert compression_ratio(said) == len(said) / len(zlib.compress(said.encode())) > 2.4
    assert compression_ratio("Good morning, everyone.") < 1.1
    assert compression_ratio("") == 0.0


@pytest.mark.parametrize(
    ("second", "first", "better"),
    [
        pytest.param(GOOD, REPETITIVE, True, id="not poor, though less likely"),
        pytest.param(SILENCE, REPETITIVE, True, id="silence is not poor"),
        pytest.param(UNLIKELY, REPETITIVE, True, id="both poor: not repetitive"),
        pytest.param(REPETITIVE, UNLIKELY, False, id="both poor: repetitive"),
        pytest.param(UNLIKELY, LESS_LIKELY, True, id="both poor: likelier"),
        pytest.param(LESS_LIKELY, UNLIKELY, False, id="both poor: less likely"),
        pytest.param(UNLIKELY, UNLIKELY, False, id="the same: the first stays"),
    ],
)
def test_which_of_two_decodings_is_kept(second: Decoding, first: Decoding, better: bool) -> None:
    assert is_better(second, first) == better
