"""Repetition loops are reduced, natural repetition is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.stt.core import DecodedSegment, DecodedWord, compression_ratio
from processors.stt.filters.loops import remove_loops


def spoken(*words: str, pace: float = 0.4, start: float = 0.0) -> DecodedSegment:
    """A segment of these words, each taking `pace` seconds."""
    heard = tuple(DecodedWord(w, start + i * pace, start + (i + 1) * pace, 0.9) for i, w in enumerate(words))
    text = "".join(words)
    return DecodedSegment(text, 2 * len(words), -0.3, compression_ratio(text.strip()), heard)


def text(segments: Sequence[DecodedSegment]) -> str:
    return "".join(segment.text for segment in segments).strip()


def cleaned(*words: str, pace: float = 0.4, seconds: float = 28.0) -> str:
    return text(remove_loops([spoken(*words, pace=pace)], seconds))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([" No,", " no,", " no."], id="three times for effect"),
        pytest.param([" One,", " one,", " one,", " one."], id="counting ones"),
        pytest.param([" No,"] * 7, id="seven times no, at the pace of talk"),
        pytest.param([" Thank", " you."] * 4, id="much obliged"),
        pytest.param([" zero"] * 4 + [" seven"], id="a telephone number"),
        pytest.param(["は"] * 5, id="laughing"),
        pytest.param([" It", " is", " what", " it", " is", " and", " that", " is", " that."], id="talk"),
    ],
)
def test_natural_repetition_is_kept(said: list[str]) -> None:
    segments = (spoken(*said),)
    assert remove_loops(segments, 12.0) == segments


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([" no,"] * 30, "no,"),
        ([" One", " moment", " please."] * 5, "One moment please."),
        ([" Well,", *[" thank", " you."] * 6, " Next", " item."], "Well, thank you. Next item."),
        ([*"ご視聴ありがとうございました。" * 5], "ご視聴ありがとうございました。"),
        (["오" * 80], "오"),
        ([" 감사합니다."] * 6, "감사합니다."),
        ([*"谢谢大家" * 6, "再", "见"], "谢谢大家再见"),
        ([" हाँ", " जी"] * 8, "हाँ जी"),
        ([" no", " no", " no", " no", " way"] * 6, "no no no no way"),
        ([*[" no"] * 12, " way"] * 9, "no way"),
    ],
)
def test_a_loop_that_compresses_well_is_reduced_to_its_first_repeat(said: list[str], left: str) -> None:
    assert cleaned(*said) == left


@pytest.mark.parametrize(("count", "left"), [(3, "that is " + "no " * 3 + "good"), (8, "that is no good")])
def test_a_short_loop_is_detected_by_its_speed(count: int, left: str) -> None:
    before = spoken(" that", " is", pace=1.0)
    after = spoken(" good", start=2.1)
    squeezed = replace(
        spoken(*[" no"] * count, pace=0.1 / count, start=2.0),
        words=tuple(DecodedWord(" no", 2.0, 2.0, 0.9) for _ in range(count)),
    )
    found = remove_loops([before, squeezed, after], 3.0)
    assert " ".join(text(found).split()) == left


def test_the_time_between_the_surrounding_words_counts() -> None:
    """The aligner can put all repeats at one instant although there was time for them."""
    before, after = spoken(" that", " is"), spoken(" good", start=3.0)
    words = tuple(DecodedWord(" no", 1.0, 1.0, 0.9) for _ in range(6))
    segments = (before, DecodedSegment(" no" * 6, 6, -0.3, 1.0, words), after)
    assert remove_loops(segments, 4.0) == segments


def test_if_alignment_failed_the_length_of_the_utterance_counts() -> None:
    words = tuple(DecodedWord(" no", 0.0, 0.0, 0.9) for _ in range(6))
    segments = (DecodedSegment(" no" * 6, 6, -0.3, 1.0, words),)
    assert remove_loops(segments, 2.0) == segments
    assert text(remove_loops(segments, 0.05)) == "no"


def test_a_segment_without_words_is_judged_by_its_text() -> None:
    interim = DecodedSegment(" Well." + " One moment please." * 9, 30, -0.3, 5.0)
    (kept,) = remove_loops([interim], 9.0)
    assert (kept.text, kept.words) == (" Well. One moment please.", ())


def test_a_loop_over_several_segments_is_reduced_to_the_first() -> None:
    segments = [spoken(" One", " moment", " please.", start=1.5 * turn) for turn in range(6)]
    assert remove_loops(segments, 10.0) == (segments[0],)


@pytest.mark.parametrize("rest", [[" One"], [" One", " moment"], [" One", " moment", " pl"], [" O"]])
def test_an_incomplete_last_repeat_is_removed_too(rest: list[str]) -> None:
    assert cleaned(*[" One", " moment", " please."] * 6, *rest) == "One moment please."


def test_a_repeat_that_continues_differently_is_kept() -> None:
    said = [*[" One", " moment", " please."] * 6, " One", " moment", " later", " it", " rang."]
    assert cleaned(*said) == "One moment please. One moment later it rang."


def test_words_text_tokens_and_ratio_stay_consistent() -> None:
    loop = spoken(" Well", *[" no,"] * 40, " yes.", pace=0.5)
    (kept,) = remove_loops([loop], 28.0)
    assert kept.text == " Well no, yes." == "".join(word.text for word in kept.words)
    assert kept.words == (loop.words[0], loop.words[1], loop.words[-1])
    assert kept.compression_ratio == compression_ratio("Well no, yes.")
    assert 1 <= kept.tokens < loop.tokens / 5
    assert kept.mean_log_probability == loop.mean_log_probability


def test_part_of_a_word_is_kept_with_its_times() -> None:
    loop = spoken("はい", "ご視聴ご視聴", "ご視聴ご視聴ご視聴ご視聴ご視聴", "です", pace=1.0)
    found = remove_loops([loop], 4.0)
    assert text(found) == "はいご視聴です"
    assert [(w.text, w.start, w.end) for w in found[0].words] == [("はい", 0, 1), ("ご視聴", 1, 1.5), ("です", 3, 4)]


def test_numbers_are_not_split() -> None:
    segments = (spoken("予算は", "10000000000", "円です。", pace=0.1),)
    assert remove_loops(segments, 1.0) == segments


distinct = st.lists(st.from_regex(r"[a-z]{2,9}", fullmatch=True), min_size=1, max_size=12, unique=True)


@given(distinct, st.integers(8, 30), st.floats(0.0, 0.01))
def test_a_phrase_faster_than_speech_is_kept_once(phrase: list[str], count: int, pace: float) -> None:
    words = [f" {word}" for word in phrase] * count
    found = remove_loops([spoken(*words, pace=pace)], pace * len(words))
    assert text(found).split() == phrase


vocabulary = st.lists(st.sampled_from([" no", " yes,", " one", " moment.", "は", "ご視聴", " 네", "..."]), max_size=40)


@given(st.lists(vocabulary, max_size=4), st.floats(0.01, 0.5))
def test_the_result_is_ordered_consistent_and_final(said: list[list[str]], pace: float) -> None:
    segments = [spoken(*words, pace=pace, start=20 * pace * turn) for turn, words in enumerate(said)]
    found = remove_loops(segments, 28.0)
    assert remove_loops(found, 28.0) == found
    left = iter(text(segments).replace(" ", ""))
    assert all(char in left for char in text(found).replace(" ", ""))  # a subsequence
    for segment in found:
        assert segment.text == "".join(word.text for word in segment.words)
        edges = [edge for word in segment.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=60, unique=True))
def test_text_without_repeats_is_unchanged_at_any_speed(words: list[str]) -> None:
    segments = (spoken(*(f" {word}" for word in words), pace=0.001),)
    assert remove_loops(segments, 0.1) == segments
