"""Decoding batches: with a scripted model, and with the real, tiny one."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import SpeechOptions
from processors.stt.core import DecodeResult, Hypothesis
from processors.stt.whisper.backend import FULL_WINDOW, Prompt, Search, Whisper
from processors.stt.whisper.decoder import FALLBACK, decode
from processors.stt.whisper.prepared import MARGIN, WINDOW_LENGTHS, PreparedAudio, max_tokens, window_length
from tests.processors.stt.scripted import Answer, Scripted, Window, at, decoded, sound
from tests.processors.stt.sounds import SHORTEST, Sentence, louder, noisy, packed, prepared

GREEDY = Search()


def results(model: Scripted, *sounds: PreparedAudio, search: Search = GREEDY) -> list[DecodeResult]:
    whisper: Any = model
    return decode(whisper, sounds, search)


def always(*tokens: int, **quality: float) -> Answer:
    return lambda _window, _search: decoded(*tokens, **quality)


# --- windows


@given(st.integers(0, 4_000))
def test_the_window_is_the_shortest_that_holds_the_audio_and_the_margin(frames: int) -> None:
    found = window_length(frames)
    assert found in WINDOW_LENGTHS
    assert found >= frames + MARGIN or found == FULL_WINDOW
    assert all(length < frames + MARGIN for length in WINDOW_LENGTHS if length < found)
    assert window_length(frames + 1) >= found


def test_longer_windows_allow_more_tokens() -> None:
    counts = [max_tokens(length) for length in WINDOW_LENGTHS]
    assert counts == sorted(counts)
    assert counts[0] >= 25 * 3  # the longest sound of the shortest window has 3 s, and nobody says 25 tokens a second
    assert counts[-1] > 448


def test_a_group_has_one_window_length_and_one_context_length() -> None:
    def group(seconds: float, context: int = 0, shortest: int = 500) -> Hashable:
        return PreparedAudio(
            np.zeros((2, round(seconds * 100)), np.float32), SpeechOptions(), (1,) * context, shortest
        ).group

    assert group(1.0) == group(3.0)
    assert group(3.0) != group(3.1)
    assert group(1.0) != group(1.0, context=2)
    assert group(1.0) != group(1.0, shortest=FULL_WINDOW)


def test_a_model_for_long_windows_gets_long_windows() -> None:
    model = Scripted(always(at(0), 1, at(1)))
    short, long = sound(1, 2.0), sound(2, 2.0, shortest=FULL_WINDOW)
    assert (short.cost, long.cost) == (5.0, 30.0)
    assert [one.decoding["window"] for one in results(model, short) + results(model, long)] == [5.0, 30.0]
    assert model.encoded == [[Window(1, 0, 500)], [Window(2, 0, FULL_WINDOW)]]
    assert long.group == sound(3, 9.0, shortest=FULL_WINDOW).group  # all lengths share a batch, and a limit of the text


# --- a decoding that stops early goes on


def stops_early(window: Window, _search: Search) -> Hypothesis:
    """Sound 1 needs two windows, all others one."""
    if window.sound == 1 and window.start == 0:
        return decoded(at(0), 1, 2, at(2), at(2.5), 3, at(3), at(3), 9)
    return decoded(at(0.5), 10 * window.sound, at(1))


def test_a_decoding_that_stops_early_is_resumed_there() -> None:
    model = Scripted(stops_early)
    found = results(model, sound(2, 9.0), sound(1, 9.0), sound(3, 9.0))
    assert [one.text for one in found] == ["w20", "w1 w2 w3 w10", "w30"]
    assert model.encoded == [[Window(n, 0, 1_200) for n in (2, 1, 3)], [Window(1, 300, 800)]]
    assert [most for *_, most in model.generated] == [max_tokens(1_200), max_tokens(800)]
    segments = found[1].segments
    assert [(s.text, s.tokens) for s in segments] == [(" w1 w2", 2), (" w3", 1), (" w10", 1)]
    times = [time for s in segments for w in s.words for time in (w.start, w.end)]
    assert times == pytest.approx([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 3.0, 3.1])


def test_a_resumed_decoding_keeps_the_language() -> None:
    model = Scripted(stops_early, {1: {"ko": 0.8, "en": 0.2}})
    (found,) = results(model, sound(1, 9.0))
    assert model.detected == [[1]]
    assert [prompts for _, prompts, *_ in model.generated] == [[Prompt("ko", "transcribe")]] * 2
    assert (found.language, found.language_probability) == ("ko", 0.8)


def test_a_very_short_rest_is_not_decoded() -> None:
    model = Scripted(lambda window, _: decoded(at(0), 1, at(2.6), at(2.6)) if not window.start else decoded(at(0), 2))
    assert [one.text for one in results(model, sound(1, 3.0))] == ["w1"]
    assert [one.text for one in results(model, sound(1, 3.1))] == ["w1 w2"]


def test_a_decoding_that_keeps_stopping_early_ends() -> None:
    model = Scripted(always(at(0), 1, at(0.6), at(0.6), 2))
    (found,) = results(model, sound(1, 28.0))
    assert 1 < len(model.encoded) <= 8
    assert found.text == " ".join(["w1"] * len(model.encoded))


def test_a_decoding_without_progress_ends() -> None:
    model = Scripted(always(at(0), at(0), 1))
    assert results(model, sound(1, 9.0))[0].text == ""
    assert len(model.encoded) == 1


def test_long_audio_continues_in_a_second_window() -> None:
    """Also if the first window is silence."""
    model = Scripted(lambda w, _: decoded(7, at(29)) if w.start else decoded(9, log_probability=-2, no_speech=0.9))
    (found,) = results(model, sound(1, 32.0))
    assert model.encoded == [[Window(1, 0, FULL_WINDOW)], [Window(1, FULL_WINDOW, 500)]]
    assert found.text == "w7"
    assert found.segments[0].words[0].start == 30.0


def test_rests_of_different_lengths_have_their_own_windows() -> None:
    stops = {1: 1.0, 2: 6.0, 3: 1.2}
    model = Scripted(
        lambda w, _: (
            decoded(at(0), 1, at(stops[w.sound]), at(stops[w.sound])) if not w.start else decoded(at(0), 2, at(1))
        )
    )
    assert [one.text for one in results(model, *(sound(n, 9.0) for n in (1, 2, 3)))] == ["w1 w2"] * 3
    assert [[(w.sound, w.start, w.frames) for w in windows] for windows in model.encoded[1:]] == [
        [(1, 100, 1_000), (3, 120, 1_000)],
        [(2, 600, 500)],
    ]


# --- a second attempt


def poor_when_short(window: Window, search: Search) -> Hypothesis:
    """Sounds 2 and 4 have a good result only with the long window and the wide search."""
    if window.sound in (2, 4) and (window.frames < FULL_WINDOW or search.beam_size == 1):
        return decoded(at(0), 1, 1, 1, at(1), ratio=5.0)
    return decoded(at(0), 10 * window.sound, at(1))


def test_only_poor_results_are_decoded_again_at_full_length() -> None:
    model = Scripted(poor_when_short)
    found = results(model, *(sound(n, 2.0) for n in (1, 2, 3, 4)))
    assert [one.text for one in found] == ["w10", "w20", "w30", "w40"]
    assert model.encoded == [[Window(n, 0, 500) for n in (1, 2, 3, 4)], [Window(n, 0, FULL_WINDOW) for n in (2, 4)]]
    windows, prompts, search, most = model.generated[1]
    assert (windows, prompts) == (model.encoded[1], [Prompt("en", "transcribe")] * 2)
    assert (search, most) == (FALLBACK, max_tokens(500))
    wider = {"beam_size": 5, "repetition_penalty": 1.1}
    assert [one.decoding["fallback"] for one in found] == [None, wider, None, wider]
    assert [windows for windows, *_ in model.aligned] == [[Window(1, 0, 500), Window(3, 0, 500)], model.encoded[1]]


def test_the_second_attempt_is_never_narrower_than_the_first() -> None:
    model = Scripted(lambda _, search: decoded(1, ratio=5.0 if search.repetition_penalty == 1 else 1.0))
    (found,) = results(model, sound(1, 2.0), search=Search(beam_size=9))
    assert [search.beam_size for _, _, search, _ in model.generated] == [9, 9]
    assert found.decoding["fallback"] == {"beam_size": 9, "repetition_penalty": 1.1}


def test_a_second_attempt_that_is_not_better_is_dropped() -> None:
    model = Scripted(
        lambda w, _: decoded(1, log_probability=-1.2) if w.frames == 500 else decoded(2, log_probability=-1.3)
    )
    (found,) = results(model, sound(1, 2.0))
    assert (found.text, found.decoding["fallback"]) == ("w1", None)
    assert model.aligned == [([Window(1, 0, 500)], "en", "transcribe")]


def test_a_poor_result_that_stopped_early_is_resumed_from_the_better_attempt() -> None:
    def answer(window: Window, _search: Search) -> Hypothesis:
        if window.start:
            return decoded(at(0), 3, at(1))
        if window.frames == FULL_WINDOW:
            return decoded(at(0), 2, at(4), at(4))
        return decoded(at(0), 1, at(1), at(1), ratio=5.0)

    model = Scripted(answer)
    assert results(model, sound(1, 9.0))[0].text == "w2 w3"
    assert model.encoded[-1] == [Window(1, 400, 800)]


def test_an_interim_result_has_neither_a_second_attempt_nor_words() -> None:
    model = Scripted(poor_when_short)
    found = results(model, sound(2, 2.0, interim=True), sound(1, 2.0, interim=True))
    assert [(one.text, [s.words for s in one.segments]) for one in found] == [("w1 w1 w1", [()]), ("w10", [()])]
    assert len(model.encoded) == 1
    assert model.aligned == []


def test_an_interim_result_in_a_batch_does_not_affect_finals() -> None:
    model = Scripted(poor_when_short)
    interim, final = results(model, sound(2, 2.0, interim=True), sound(4, 2.0))
    assert (interim.text, final.text) == ("w1 w1 w1", "w40")
    assert not interim.segments[0].words
    assert [word.text for word in final.segments[0].words] == [" w40"]


# --- silence


def test_silence_has_no_text() -> None:
    model = Scripted(always(at(0), 1, at(1), log_probability=-1.5, no_speech=0.7))
    (found,) = results(model, sound(1, 2.0))
    assert (found.segments, found.no_speech_probability) == ((), 0.7)
    assert len(model.encoded) == 1  # and it is not decoded again
    assert model.aligned == []


@pytest.mark.parametrize("tokens", [(), (at(0), at(1)), (at(0),)])
def test_no_text_is_no_segment(tokens: tuple[int, ...]) -> None:
    model = Scripted(always(*tokens))
    assert [one.segments for one in results(model, sound(1, 2.0))] == [()]
    assert model.aligned == []


def test_the_highest_no_speech_probability_of_all_windows_counts() -> None:
    model = Scripted(
        lambda w, _: decoded(at(0), 1, at(1), at(1), no_speech=0.1) if not w.start else decoded(2, no_speech=0.4)
    )
    assert results(model, sound(1, 9.0))[0].no_speech_probability == 0.4


# --- turns


def test_each_call_of_the_model_has_a_turn_of_its_own() -> None:
    turn = threading.Lock()  # entering it twice would never end
    called: list[str] = []

    class Watched(Scripted):
        def __getattribute__(self, name: str) -> Any:
            if name in ("encode", "detect_languages", "generate", "select", "align"):
                called.append(name)
                assert turn.locked() or name == "encode", f"{name} without a turn"  # it takes turns itself
            return super().__getattribute__(name)

    whisper: Any = Watched(poor_when_short)
    decode(whisper, [sound(1, 2.0), sound(2, 9.0)], GREEDY, turn)
    assert {"encode", "detect_languages", "generate", "select", "align"} == set(called)
    assert not turn.locked()


# --- languages and prompts


def test_each_utterance_of_a_batch_has_its_own_language_and_task() -> None:
    options = [
        SpeechOptions(),
        SpeechOptions(),
        SpeechOptions(language="ko", task="translate"),
        SpeechOptions(language="ja"),
    ]
    model = Scripted(always(at(0), 1, at(1)), {1: {"ko": 0.6, "en": 0.4}, 3: {"en": 1.0}})
    found = results(model, *(sound(n, 2.0, one) for n, one in enumerate(options)))
    assert [(one.language, one.language_probability) for one in found] == [
        ("en", 0.9),
        ("ko", 0.6),
        ("ko", 1.0),
        ("ja", 1.0),
    ]
    assert [dict(one.languages) for one in found] == [{"en": 0.9, "ko": 0.1}, {"ko": 0.6, "en": 0.4}, {}, {}]
    (_, prompts, *_) = model.generated[0]
    assert prompts == [
        Prompt("en", "transcribe"),
        Prompt("ko", "transcribe"),
        Prompt("ko", "translate"),
        Prompt("ja", "transcribe"),
    ]
    assert Counter((language, task) for _, language, task in model.aligned) == Counter(
        (prompt.language, prompt.task) for prompt in prompts
    )


def test_given_languages_are_not_detected() -> None:
    model = Scripted(always(at(0), 1, at(1)))
    results(model, *(sound(n, 2.0, SpeechOptions(language="ko")) for n in range(2)))
    assert model.detected == []


def test_an_english_model_decodes_english() -> None:
    model = Scripted(always(at(0), 1, at(1)), multilingual=False)
    (found,) = results(model, sound(1, 2.0))
    assert (found.language, found.language_probability, found.languages) == ("en", 1.0, {})
    assert model.detected == []


def test_detection_is_restricted_to_the_allowed_languages() -> None:
    model = Scripted(always(at(0), 1, at(1)), {1: {"ja": 0.5, "en": 0.3, "ko": 0.2}})
    (found,) = results(model, sound(1, 2.0, SpeechOptions(allowed_languages=["ko", "en"])))
    assert found.language == "en"
    assert found.language_probability == pytest.approx(0.6)
    assert found.languages == pytest.approx({"en": 0.6, "ko": 0.4})


GREEDY = Search()


@pytest.fixture(scope="module")
def utterances(whisper: Whisper, spoken: list[Sentence]) -> list[PreparedAudio]:
    """80 utterances of 1.5 to 12 s: one to three sentences; soft, noisy, without pauses, or repeated."""
    random = np.random.default_rng(7)
    options = [
        SpeechOptions(),
        SpeechOptions(task="translate"),
        SpeechOptions(prompt="The budget"),
        SpeechOptions(prompt="The roadmap"),
        SpeechOptions(allowed_languages=["en", "ko"]),
        SpeechOptions(hotwords="The contract"),
    ]
    found = []
    for number in range(80):
        said = [spoken[n] for n in random.integers(0, len(spoken), random.choice((1, 1, 1, 2, 3)))]
        pcm = b"".join(sentence.pcm for sentence in said)
        if number % 4 == 1:
            pcm = louder(pcm, -random.uniform(5, 30))
        elif number % 4 == 2:
            pcm = noisy(pcm, random.uniform(-5, 20), random)
        elif number % 8 == 3:
            pcm = packed(said[:1] * 9)
        which = options[number % len(options)]
        if number % 5 == 0:
            which = which.model_copy(update={"language": said[0].language})
        found.append(prepared(whisper, pcm[: 2 * 12 * 16_000], which, interim=number % 20 == 7))
    return found


def test_an_utterance_gives_the_same_result_alone_and_in_any_batch(
    whisper: Whisper, utterances: list[PreparedAudio]
) -> None:
    lengths = [one.frames for one in utterances]
    assert min(lengths) < 160
    assert max(lengths) == 1_200
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number in np.random.default_rng(1).permutation(len(utterances)):
        groups[utterances[number].group].append(number)
    batches = [group[n : n + 8] for group in groups.values() for n in range(0, len(group), 8)]
    assert sum(len({utterances[n].options.language for n in batch}) > 1 for batch in batches) > 5
    with ThreadPoolExecutor(2) as pool:
        alone = [one for (one,) in pool.map(lambda one: decode(whisper, [one], GREEDY), utterances)]
        together = pool.map(lambda batch: decode(whisper, [utterances[n] for n in batch], GREEDY), batches)
        in_batches = {
            n: one for batch, found in zip(batches, together, strict=True) for n, one in zip(batch, found, strict=True)
        }
    assert {one.language for one in alone} == {"en", "ko"}
    assert sum(one.decoding["fallback"] is not None for one in alone) >= 2
    for number, one in enumerate(alone):
        assert_same(one, in_batches[number])


def assert_same(one: DecodeResult, other: DecodeResult) -> None:
    """The same text at the same times, and the same probabilities except for rounding."""
    assert (one.text, one.language, one.decoding) == (other.text, other.language, other.decoding)
    assert other.languages == pytest.approx(dict(one.languages), abs=1e-2)
    assert other.language_probability == pytest.approx(one.language_probability, abs=1e-2)
    assert other.no_speech_probability == pytest.approx(one.no_speech_probability, abs=1e-2)
    assert [(s.text, s.tokens) for s in one.segments] == [(s.text, s.tokens) for s in other.segments]
    for mine, theirs in zip(one.segments, other.segments, strict=True):
        assert theirs.mean_log_probability == pytest.approx(mine.mean_log_probability, abs=1e-2)
        assert [(w.text, w.start, w.end) for w in mine.words] == [(w.text, w.start, w.end) for w in theirs.words]
        assert [w.probability for w in mine.words] == pytest.approx([w.probability for w in theirs.words], abs=1e-2)


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def word_error_rate(whisper: Whisper, said: Sequence[Sentence], shortest: int) -> float:
    groups: dict[Hashable, list[tuple[Sentence, PreparedAudio]]] = defaultdict(list)
    for sentence in said:
        one = prepared(whisper, sentence.pcm, shortest=shortest)
        groups[one.group].append((sentence, one))
    batches = [group[n : n + 8] for group in groups.values() for n in range(0, len(group), 8)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda batch: decode(whisper, [one for _, one in batch], GREEDY), batches))
    texts = [plain(one.text) for batch in found for one in batch]
    return float(jiwer.wer([plain(sentence.text) for batch in batches for sentence, _ in batch], texts))


def test_short_windows_cost_no_words(whisper: Whisper, spoken: list[Sentence]) -> None:
    said = spoken[::4]
    long = word_error_rate(whisper, said, FULL_WINDOW)
    assert word_error_rate(whisper, said, SHORTEST) <= long + 0.01
    assert long < 0.05


def test_a_poor_result_is_replaced_by_the_fallback_search_at_full_length(
    whisper: Whisper, spoken: list[Sentence]
) -> None:
    one = prepared(whisper, packed([spoken[12]] * 9)[: 2 * 8 * 16_000])
    (found,) = decode(whisper, [one], GREEDY)
    assert found.decoding["window"] == 10.0
    assert found.decoding["fallback"] == {"beam_size": 5, "repetition_penalty": 1.1}
    encoded = whisper.encode([one.features], FULL_WINDOW)
    (again,) = whisper.generate(encoded, [Prompt(found.language, "transcribe")], FALLBACK, max_tokens(FULL_WINDOW))
    assert found.text == " ".join(whisper.text(again.tokens).split())
