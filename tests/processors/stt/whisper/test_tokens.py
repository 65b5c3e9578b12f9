"""From tokens to spans and words; the same as faster-whisper makes of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import faster_whisper
import pytest
from faster_whisper.tokenizer import Tokenizer
from hypothesis import given
from hypothesis import strategies as st

from audio import to_float32
from processors.stt.whisper.backend import FRAMES_PER_SECOND, Prompt, Search, Whisper
from processors.stt.whisper.prepared import max_tokens, window_length
from processors.stt.whisper.tokens import PRECISION, AlignedWord, Span, assign_words, split_spans
from tests.processors.stt.sounds import MICRO, Sentence, packed

BEGIN = 1_000


def at(seconds: float) -> int:
    return BEGIN + round(seconds / PRECISION)


def cut(*tokens: int, seconds: float = 10.0) -> tuple[list[Span], float | None]:
    return split_spans(tokens, BEGIN, seconds)


@pytest.mark.parametrize(
    ("tokens", "found", "rest"),
    [
        pytest.param([], [Span(0.0, 10.0, ())], None, id="nothing"),
        pytest.param([1, 2], [Span(0.0, 10.0, (1, 2))], None, id="no timestamps: all of it"),
        pytest.param([at(0), 1, 2], [Span(0.0, 10.0, (1, 2))], None, id="none at the end: to the end of the sound"),
        pytest.param([at(0.5), 1, 2], [Span(0.0, 0.5, (1, 2))], None, id="one timestamp is taken for the end"),
        pytest.param([at(0), 1, 2, at(3)], [Span(0.0, 3.0, (1, 2))], None, id="one at the end: no speech behind it"),
        pytest.param([at(0), 1, at(99)], [Span(0.0, 10.0, (1,))], None, id="no later than the sound"),
        pytest.param(
            [at(0), 1, at(2), at(2.5), 2, 3, at(4)],
            [Span(0.0, 2.0, (1,)), Span(2.5, 4.0, (2, 3))],
            None,
            id="a pair between, one at the end",
        ),
        pytest.param(
            [at(0), 1, at(2), at(2.5), 2, at(4), at(4)],
            [Span(0.0, 2.0, (1,)), Span(2.5, 4.0, (2,))],
            4.0,
            id="a pair at the end: there is more behind it",
        ),
        pytest.param(
            [at(0), 1, at(2), at(2.5), 2, 3], [Span(0.0, 2.0, (1,))], 2.0, id="what is not finished is decoded again"
        ),
        pytest.param(
            [at(3), 1, at(2), at(2.5), 2, at(1)],
            [Span(3.0, 3.0, (1,)), Span(2.5, 2.5, (2,))],
            None,
            id="no end before its start",
        ),
    ],
)
def test_tokens_are_split_at_timestamps(tokens: list[int], found: list[Span], rest: float | None) -> None:
    made, more = cut(*tokens)
    assert [span.tokens for span in made] == [span.tokens for span in found]
    assert [(span.start, span.end) for span in made] == [pytest.approx((span.start, span.end)) for span in found]
    assert more == (None if rest is None else pytest.approx(rest))


times = st.floats(0, 12).map(at)


@given(st.builds(lambda first, more: [first, *more], times, st.lists(st.integers(0, 20) | times, max_size=40)))
def test_no_text_is_lost_except_what_is_decoded_again(tokens: list[int]) -> None:
    """The first token is always a timestamp: CTranslate2 allows no other."""
    found, rest = cut(*tokens)
    kept = [token for span in found for token in span.tokens]
    text = [token for token in tokens if token < BEGIN]
    assert kept == (text if rest is None else text[: len(kept)])
    assert all(0 <= span.start <= span.end for span in found)


def word(text: str, start: float, end: float, tokens: int = 1) -> AlignedWord:
    return AlignedWord(text, tokens, start, end, 0.9)


def said(found: list[tuple[Span, list[AlignedWord]]]) -> list[list[tuple[str, float, float]]]:
    return [[(w.text, round(w.start, 3), round(w.end, 3)) for w in words] for _, words in found]


def test_words_go_to_the_spans_that_have_their_tokens() -> None:
    two = [Span(0.0, 1.0, (1, 2, 3)), Span(1.0, 2.0, (4, 5))]
    words = [word(" one", 0.1, 0.5, 2), word(" two", 0.5, 1.0), word(" three", 1.2, 1.6), word(" four", 1.6, 1.9)]
    found = assign_words(two, words)
    assert said(found) == [[(" one", 0.1, 0.5), (" two", 0.5, 1.0)], [(" three", 1.2, 1.6), (" four", 1.6, 1.9)]]
    assert [(span.start, span.end) for span, _ in found] == [(0.1, 1.0), (1.2, 1.9)]


def test_spans_without_words_keep_their_times() -> None:
    two = [Span(0.0, 1.0, (1,)), Span(1.0, 2.0, ())]
    assert assign_words(two, []) == [(two[0], []), (two[1], [])]


def test_punctuation_is_part_of_the_word_beside_it() -> None:
    words = [
        word(' "', 0.0, 0.1),
        word("Yes", 0.1, 0.4),
        word(",", 0.4, 0.45),
        word('"', 0.45, 0.5),
        word(" she", 0.5, 0.8),
        word(" said", 0.8, 1.1),
        word(".", 1.1, 1.2),
        word(" (", 1.2, 1.3),
    ]
    (only,) = said(assign_words([Span(0.0, 1.3, tuple(range(8)))], words))
    assert only == [(' "Yes,"', 0.1, 0.4), (" she", 0.5, 0.8), (" said.", 0.8, 1.1), (" (", 1.2, 1.3)]


def test_a_span_that_ends_before_its_punctuation_keeps_the_mark() -> None:
    found = assign_words(
        [Span(0.0, 1.0, (1, 2)), Span(1.0, 2.0, (3,))], [word(" a", 0, 1), word(".", 1, 1.1), word(" b", 1.1, 2)]
    )
    assert [[w.text for w in words] for _, words in found] == [[" a."], [" b"]]


def test_words_at_one_instant_are_spread_over_their_span() -> None:
    span = Span(2.0, 3.0, (1, 2, 3, 4))
    ((again, words),) = assign_words([span], [word(f" w{n}", 1.5, 1.5) for n in range(4)])
    assert [(w.start, w.end) for w in words] == [(2.0, 2.25), (2.25, 2.5), (2.5, 2.75), (2.75, 3.0)]
    assert (again.start, again.end) == (2.0, 3.0)


def test_words_at_one_instant_of_a_span_without_length_still_have_one() -> None:
    ((again, words),) = assign_words([Span(2.0, 2.0, (1, 2))], [word(" a", 0, 0), word(" b", 0, 0)])
    assert words[0].start < words[0].end == words[1].start < words[1].end == again.end == 2.0 + PRECISION


def test_a_pause_is_not_part_of_the_word_behind_it() -> None:
    words = [word(f" w{n}", n * 0.3, n * 0.3 + 0.3) for n in range(6)]
    late = [word(" late", 1.8, 6.0), word(" words", 6.0, 6.3)]
    found = assign_words([Span(0.0, 1.8, tuple(range(6))), Span(1.8, 6.3, (6, 7))], [*words, *late])
    assert said(found)[1] == [(" late", 5.4, 6.0), (" words", 6.0, 6.3)]


def test_a_pause_is_not_part_of_the_word_behind_a_sentence_end() -> None:
    words = [word(" a", 0, 0.3), word(" b", 0.3, 0.6), word(".", 0.6, 0.7), word(" c", 0.7, 3.3), word(" d", 3.3, 3.6)]
    (only,) = said(assign_words([Span(0.0, 3.6, (1, 2, 3, 4, 5))], words))
    assert only == [(" a", 0, 0.3), (" b.", 0.3, 0.6), (" c", 2.7, 3.3), (" d", 3.3, 3.6)]


def test_a_last_word_that_is_too_long_ends_with_its_span() -> None:
    words = [word(" a", 0, 0.3), word(" b", 0.3, 0.6), word(" c", 0.6, 5.0)]
    ((span, found),) = assign_words([Span(0.0, 1.0, (1, 2, 3))], words)
    assert (found[-1].start, found[-1].end, span.end) == (0.6, 1.0, 1.0)


texts = st.sampled_from([" we", " need", "ed", ".", ",", ' "', '"', " (", ")", "会", "、", " ", "", " 회의를"])


@given(
    st.lists(st.tuples(texts, st.integers(1, 3), st.floats(0, 2)), max_size=20), st.lists(st.integers(0, 8), max_size=5)
)
def test_every_word_is_assigned_once_in_order(drawn: list[tuple[str, int, float]], counts: list[int]) -> None:
    """Aligned words follow each other and have exactly the tokens of all spans."""
    words, now = [], 0.0
    for text, tokens, seconds in drawn:
        words.append(word(text, now, now + seconds, tokens))
        now += seconds
    left, found, begin = sum(w.tokens for w in words), [], 0.0
    for count in [*counts, 10_000]:
        found.append(Span(begin, begin + now / 4, tuple(range(min(count, left)))))
        left -= min(count, left)
        begin += now / 4
    placed = assign_words(found, words)
    assert [span.tokens for span, _ in placed] == [span.tokens for span in found]
    assert "".join(w.text for _, mine in placed for w in mine) == "".join(w.text for w in words)
    for span, mine in placed:
        assert span.start <= span.end
        assert all(w.start <= w.end for w in mine)
        assert all(a.end <= b.start + 1e-9 for a, b in pairwise(mine))


PREPENDED, APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - as in faster-whisper
HUNDREDTH = 0.0101
"""Tolerance, because faster-whisper rounds to two digits."""


@pytest.fixture(scope="module")
def theirs() -> Any:
    return faster_whisper.WhisperModel(str(MICRO), device="cpu", compute_type="int8", cpu_threads=1)


def test_words_and_times_are_the_same_as_those_of_faster_whisper(
    whisper: Whisper, theirs: Any, spoken: list[Sentence]
) -> None:
    """With one intended exception: if all words of a segment are aligned to one instant, only we spread them."""
    threes = [spoken[n].pcm + spoken[n + 1].pcm + spoken[n + 2].pcm for n in range(0, 66, 22)]
    runs = [packed(spoken[n : n + 5]) for n in range(0, 66, 22)]
    count = several = collapsed = 0
    for pcm in [*(sentence.pcm for sentence in spoken[::2]), *threes, *runs]:
        features = whisper.features(to_float32(pcm))
        frames = features.shape[1]
        seconds = frames / FRAMES_PER_SECOND
        encoded = whisper.encode([features], window_length(frames))
        language = next(iter(whisper.detect_languages(encoded)[0]))
        prompt = Prompt(language, "transcribe")
        (decoding,) = whisper.generate(encoded, [prompt], Search(), max_tokens(window_length(frames)))
        found, rest = split_spans(decoding.tokens, whisper.timestamp_begin, seconds)
        (aligned,) = whisper.align(
            encoded, language, "transcribe", [[token for span in found for token in span.tokens]], [frames]
        )
        tokenizer = Tokenizer(theirs.hf_tokenizer, True, "transcribe", language)
        segments, seek, _ = theirs._split_segments_by_timestamps(
            tokenizer, list(decoding.tokens), 0.0, frames, seconds, 0
        )
        theirs.add_word_timestamps([segments], tokenizer, encoded, frames, PREPENDED, APPENDED, 0.0)
        assert seek == (frames if rest is None else round(rest * FRAMES_PER_SECOND))
        several += len(found) > 1
        for (span, words), segment in zip(assign_words(found, aligned), segments, strict=True):
            count += 1
            assert whisper.text(span.tokens) == tokenizer.decode(segment["tokens"])
            assert [w.text for w in words] == [w["word"] for w in segment["words"]]
            assert [w.probability for w in words] == pytest.approx([w["probability"] for w in segment["words"]])
            if len({time for w in segment["words"] for time in (w["start"], w["end"])}) == 1:
                collapsed += 1
                assert words[0].start < words[-1].end
            else:
                times = [time for w in words for time in (w.start, w.end)]
                assert times == pytest.approx(
                    [t for w in segment["words"] for t in (w["start"], w["end"])], abs=HUNDREDTH
                )
                assert (span.start, span.end) == pytest.approx((segment["start"], segment["end"]), abs=HUNDREDTH)
    assert count > 50
    assert several >= 5
    assert collapsed < count / 10
