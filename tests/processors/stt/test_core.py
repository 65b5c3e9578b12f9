"""From decode results to transcripts and interim results."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Partial, Transcript, Utterance
from processors.stt.core import (
    DecodedSegment,
    DecodedWord,
    DecodeResult,
    Hypothesis,
    Model,
    compression_ratio,
    confidence,
    failed_transcript,
    is_better,
    is_poor,
    is_silence,
    local_agreement,
    place_words,
)
from processors.stt.core import transcript as make

MODEL = Model("whisper-micro", "0123456789abcdef")
UTTERANCE = Utterance(job="weekly", index=3, start=32_000, end=64_000, pcm=bytes(64_000))


def segment(
    text: str, *words: DecodedWord, tokens: int = 4, log_probability: float = -0.5, **more: float
) -> DecodedSegment:
    values = {"compression_ratio": 1.0} | more
    return DecodedSegment(text, tokens, log_probability, words=words, **values)


def heard(*segments: DecodedSegment) -> DecodeResult:
    return DecodeResult(
        segments, "en", 0.98, no_speech_probability=0.25, decoding={"beam_size": 1, "task": "transcribe"}
    )


def test_a_transcript_has_the_text_and_how_it_was_decoded() -> None:
    words = DecodedWord(" Good", 0.1, 0.5, 0.9), DecodedWord(" morning.", 0.5, 1.0, 0.8)
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


def test_segments_become_one_text_with_their_highest_compression_ratio() -> None:
    first = segment(" Good  morning.", DecodedWord(" Good", 0, 0.5, 1), compression_ratio=0.8)
    second = segment(" Thank you. ", DecodedWord(" Thank", 1, 1.5, 1), compression_ratio=2.5)
    made = make(UTTERANCE, heard(first, second), MODEL)
    assert made.text == "Good morning. Thank you."
    assert [word.word for word in made.words] == ["Good", "Thank"]
    assert made.compression_ratio == 2.5


def test_no_spaces_are_added_between_words() -> None:
    assert make(UTTERANCE, heard(segment("会議を"), segment("始めます。")), MODEL).text == "会議を始めます。"


def test_the_text_is_one_line() -> None:
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


def test_words_past_the_end_of_the_audio_end_with_it() -> None:
    placed = place_words([DecodedWord(" late", 1.9, 2.4, 0.5), DecodedWord(" later", 2.4, 2.8, 0.5)], 32_000, 64_000)
    assert [(word.start, word.end) for word in placed] == [(62_400, 64_000), (64_000, 64_000)]


def test_space_alone_is_no_word() -> None:
    assert place_words([DecodedWord(" ", 0, 1, 0.5)], 0, 16_000) == []


times = st.floats(-1, 40)
spoken = st.builds(DecodedWord, st.text(), times, times, st.floats(-0.1, 1.1) | st.just(math.nan))


@given(st.lists(spoken), st.integers(0, 10**9), st.integers(0, 28 * 16_000))
def test_words_are_in_order_and_within_the_utterance(words: list[DecodedWord], start: int, length: int) -> None:
    placed = place_words(words, start, start + length)
    edges = [start, *(edge for word in placed for edge in (word.start, word.end)), start + length]
    assert edges == sorted(edges)
    assert [word.word for word in placed] == [text for word in words if (text := word.text.strip())]


GOOD = Hypothesis(-0.3, 1.5, 0.0)
UNLIKELY = Hypothesis(-1.2, 1.5, 0.0)
LESS_LIKELY = Hypothesis(-1.3, 0.5, 0.0)
REPETITIVE = Hypothesis(-0.1, 5.0, 0.0)
SILENCE = Hypothesis(-1.2, 1.5, 0.7)


@pytest.mark.parametrize(
    ("decoding", "poor"),
    [
        (GOOD, False),
        (Hypothesis(-1.0, 2.4, 0.0), False),
        (UNLIKELY, True),
        (REPETITIVE, True),
        (Hypothesis(-0.1, 5.0, 0.9), True),
        (SILENCE, False),
        (Hypothesis(-1.2, 5.0, 0.7), False),
        (Hypothesis(-1.2, 1.5, 0.6), True),
    ],
)
def test_poor_is_repetitive_or_unlikely_unless_nobody_speaks(decoding: Hypothesis, poor: bool) -> None:
    assert is_poor(decoding) == poor


@pytest.mark.parametrize(
    ("decoding", "silent"),
    [
        (GOOD, False),
        (SILENCE, True),
        (Hypothesis(-1.2, 1.5, 0.6), False),
        (Hypothesis(-1.0, 1.5, 0.7), True),
        (Hypothesis(-0.9, 1.5, 0.99), False),
        (Hypothesis(-1.2, 5.0, 0.7), True),
    ],
)
def test_silence_needs_an_unlikely_text_as_well(decoding: Hypothesis, silent: bool) -> None:
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
def test_which_of_two_hypotheses_is_kept(second: Hypothesis, first: Hypothesis, better: bool) -> None:
    assert is_better(second, first) == better


def said(text: str, *, index: int = 0, start: int = 0, end: int = 16_000) -> Partial:
    return Partial(job="j", index=index, start=start, end=end, text=text, language="en")


def shown(*hypotheses: str) -> list[str]:
    """The text shown after each hypothesis of a segment, with a bar behind its stable part."""
    previous, lines = None, []
    for number, text in enumerate(hypotheses, 1):
        previous = local_agreement(previous, said(text, end=number * 8_000))
        assert previous.end == number * 8_000
        lines.append(previous.text[: previous.stable] + "|" + previous.text[previous.stable :])
    return lines


@pytest.mark.parametrize(
    ("hypotheses", "lines"),
    [
        pytest.param(["Good"], ["|Good"], id="the first is nothing but a guess"),
        pytest.param(
            ["Good", "Good morning", "Good morning everyone."],
            ["|Good", "Good| morning", "Good morning| everyone."],
            id="what two in a row say is stable",
        ),
        pytest.param(
            ["Could mourning", "Good morning", "Good morning all"],
            ["|Could mourning", "|Good morning", "Good morning| all"],
            id="a guess that nobody repeats goes",
        ),
        pytest.param(
            ["We need two", "We need two", "We heed three testers", "We heed three testers"],
            ["|We need two", "We need two|", "We need two| testers", "We need two testers|"],
            id="what is stable is not taken back",
        ),
        pytest.param(
            ["that sounds", "That, sounds good!", "that sounds good"],
            ["|that sounds", "That, sounds| good!", "That, sounds good|"],
            id="case and punctuation make no other word",
        ),
        pytest.param(
            ["I agree.", "I agree with you.", "I agree with you."],
            ["|I agree.", "I agree| with you.", "I agree with you.|"],
            id="the newer of two spellings is kept",
        ),
        pytest.param(
            ["Good morning everyone", "Good morning everyone", "Good", "Good morning everyone again"],
            [
                "|Good morning everyone",
                "Good morning everyone|",
                "Good morning everyone|",
                "Good morning everyone| again",
            ],
            id="a shorter hypothesis leaves what is stable",
        ),
        pytest.param(
            ["会議を", "会議を始め", "会議を始めます。"],
            ["|会議を", "会議を|始め", "会議を始め|ます。"],
            id="Japanese goes by character",
        ),
        pytest.param(
            ["我们开会", "我们开始 meeting", "我们开始 meeting 吧"],
            ["|我们开会", "我们开|始 meeting", "我们开始 meeting| 吧"],
            id="Chinese with a word of English",
        ),
        pytest.param(
            ["회의를", "회의를 시작", "회의를 시작 하겠습니다."],
            ["|회의를", "회의를| 시작", "회의를 시작| 하겠습니다."],
            id="Korean goes by word",
        ),
        pytest.param(["", "Good", ""], ["|", "|Good", "|"], id="nothing is understood for a while"),
        pytest.param(["- so", "... so", "so"], ["|- so", "... so|", "... so|"], id="marks alone"),
    ],
)
def test_local_agreement(hypotheses: list[str], lines: list[str]) -> None:
    assert shown(*hypotheses) == lines


@pytest.mark.parametrize("other", [said("Good morning", index=1), said("Good morning", start=480)])
def test_another_segment_begins_with_nothing_stable(other: Partial) -> None:
    before = local_agreement(said("Good morning"), said("Good morning"))
    assert before.stable == len("Good morning")
    after = local_agreement(before, other)
    assert after == other
    assert after.stable == 0


def test_the_stability_of_the_hypothesis_itself_is_ignored() -> None:
    assert local_agreement(None, said("Good").model_copy(update={"stable": 4})).stable == 0


def test_all_other_fields_are_those_of_the_newer_hypothesis() -> None:
    newer = said("Good night", end=32_000).model_copy(update={"language": "ko"})
    assert local_agreement(said("Good"), newer) == newer.model_copy(update={"stable": len("Good")})


words = st.sampled_from(
    ["good", "Good", "good,", "morning", " morning.", "회의를", "会議", "を", "。", "...", "\u3000", "a"]
)
texts = st.lists(words, max_size=8).map(" ".join) | st.lists(words, max_size=8).map("".join) | st.text(max_size=12)


@given(st.lists(texts, min_size=1, max_size=12))
def test_stable_text_never_changes_and_never_shrinks(hypotheses: list[str]) -> None:
    previous = None
    for text in hypotheses:
        found = local_agreement(previous, said(text))
        assert 0 <= found.stable <= len(found.text)
        if previous is not None:
            assert found.stable >= previous.stable
            assert found.text.startswith(previous.text[: previous.stable])
        previous = found


@given(texts.map(lambda text: " ".join(text.split())))
def test_the_same_hypothesis_twice_is_stable(text: str) -> None:
    found = local_agreement(local_agreement(None, said(text)), said(text))
    assert (found.text, found.stable) == (text, len(text))


@given(st.lists(st.sampled_from(["we", "need", "two", "testers", "now"]), min_size=1, max_size=20))
def test_a_growing_hypothesis_is_shown_as_it_is_and_stable_but_for_its_newest_words(
    spoken: list[str],
) -> None:
    previous = None
    for count in range(1, len(spoken) + 1):
        previous = local_agreement(previous, said(" ".join(spoken[:count])))
        assert previous.text == " ".join(spoken[:count])
        assert previous.text[: previous.stable] == " ".join(spoken[: count - 1])
