"""The model on CTranslate2: features, prompts, decoding, and errors of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audio import to_float32
from processors.stt.core import DeviceLost, OutOfMemory
from processors.stt.whisper.backend import FULL_WINDOW, Features, Prompt, Search, Whisper
from processors.stt.whisper.tokens import AlignedWord
from tests.processors.stt.sounds import Sentence

ENGLISH = Prompt("en", "transcribe")


@pytest.fixture(scope="module")
def features(whisper: Whisper, spoken: list[Sentence]) -> list[Features]:
    """Four sentences, the last of them Korean."""
    korean = next(sentence for sentence in spoken if sentence.language == "ko")
    return [whisper.features(to_float32(sentence.pcm)) for sentence in (*spoken[:3], korean)]


@pytest.fixture
def endless(whisper: Whisper, monkeypatch: pytest.MonkeyPatch, features: list[Features]) -> Any:
    """An encoded window for which the decoder never ends the text."""
    end = whisper._tokenizer("en", "transcribe").eot
    monkeypatch.setattr(whisper, "_suppressed", [-1, end])
    return whisper.encode(features[:1], 500)


@pytest.mark.parametrize("samples", [1_600, 16_000, 16_100, 16_159, 16_160])
def test_a_frame_is_ten_milliseconds(whisper: Whisper, samples: int) -> None:
    found = whisper.features(np.zeros(samples, np.float32))
    assert found.shape == (80, samples // 160)
    assert found.dtype == np.float32


def test_a_window_is_cut_or_filled_up(whisper: Whisper, features: list[Features]) -> None:
    padded = np.pad(features[0], ((0, 0), (0, 500 - features[0].shape[1])))
    with_more = np.pad(padded, ((0, 0), (0, 100)), constant_values=1.0)
    encoded = [np.array(whisper.encode([window], 500)) for window in (features[0], padded, with_more)]
    assert encoded[0].shape[:2] == (1, 250)
    assert (encoded[0] == encoded[1]).all()
    assert (encoded[0] == encoded[2]).all()


def test_selected_windows_are_the_right_ones(whisper: Whisper, features: list[Features]) -> None:
    encoded = whisper.encode(features, 500)
    assert whisper.select(encoded, [0, 1, 2, 3]) is encoded
    prompts = [ENGLISH, ENGLISH, ENGLISH, Prompt("ko", "transcribe")]
    whole = whisper.generate(encoded, prompts, Search(), 50)
    for rows in ([3, 1], [1, 2, 3], [2]):
        selected = whisper.select(encoded, rows)
        assert (np.asarray(selected) == np.asarray(encoded)[rows]).all()
        assert whisper.generate(selected, [prompts[row] for row in rows], Search(), 50) == [whole[row] for row in rows]


def test_a_stretch_of_a_window_is_not_copied(whisper: Whisper, features: list[Features]) -> None:
    encoded = whisper.encode(features, 500)
    whole = np.asarray(encoded)
    part = whisper.between(encoded, 2, 1.0, 2.5)
    assert np.shares_memory(np.asarray(part), whole)
    assert (np.asarray(part) == whole[2:3, 50:125]).all()
    assert np.asarray(whisper.between(encoded, 3, 4.5, 9.0)).shape == (1, 25, whole.shape[2])


def test_a_text_without_timestamps(whisper: Whisper, features: list[Features]) -> None:
    encoded = whisper.encode(features[:2], 500)
    plain = whisper.generate(encoded, 2 * [Prompt("en", "transcribe", timestamps=False)], Search(), 50)
    timed = whisper.generate(encoded, 2 * [ENGLISH], Search(), 50)
    assert all(token < whisper.timestamp_begin for one in plain for token in one.tokens)
    assert [whisper.text(one.tokens) for one in plain] == [whisper.text(one.tokens) for one in timed]
    assert not any(one.is_cut for one in (*plain, *timed))


@pytest.mark.parametrize("equal", [False, True], ids=["of all lengths", "of equal length"])
def test_words_aligned_in_one_call_have_the_times_that_they_have_alone(
    whisper: Whisper, spoken: list[Sentence], monkeypatch: pytest.MonkeyPatch, equal: bool
) -> None:
    """As on a GPU, but on a CPU. Where one call would not do, the texts are aligned in groups."""
    monkeypatch.setattr(whisper, "_aligns_at_once", True)
    pcm = to_float32(b"".join(sentence.pcm for sentence in spoken))
    end = whisper._tokenizer("en", "transcribe").eot
    random = np.random.default_rng(1)
    for _ in range(25):
        lengths = [60_000] * 8 if equal else list(random.integers(16_000, 120_000, 8))
        starts = [random.integers(len(pcm) - length) for length in lengths]
        windows = [whisper.features(pcm[at : at + length]) for at, length in zip(starts, lengths, strict=True)]
        encoded = whisper.encode(windows, 1_000)
        texts = [
            [token for token in one.tokens if token < end] or [300]
            for one in whisper.generate(encoded, [ENGLISH] * 8, Search(), 50)
        ]
        frames = [window.shape[1] for window in windows]
        alone = [
            whisper.align(whisper.select(encoded, [row]), "en", "transcribe", [texts[row]], [frames[row]])[0]
            for row in range(8)
        ]
        together = whisper.align(encoded, "en", "transcribe", texts, frames)
        assert [_times(words) for words in together] == [_times(words) for words in alone]


def _times(words: list[AlignedWord]) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for word in words]


def test_each_window_has_its_languages_most_likely_first(whisper: Whisper, features: list[Features]) -> None:
    found = whisper.detect_languages(whisper.encode(features, 500))
    assert [next(iter(probabilities)) for probabilities in found] == ["en", "en", "en", "ko"]
    for probabilities in found:
        assert set(probabilities) <= whisper.languages
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
        assert 0.99 < sum(probabilities.values()) < 1.01


def test_a_multilingual_model_has_the_languages_of_its_vocabulary(whisper: Whisper) -> None:
    assert whisper.multilingual
    assert {"en", "ko", "ja", "haw"} <= whisper.languages
    assert not {"yue", "xx"} & whisper.languages


def test_a_hypothesis_has_its_figures(whisper: Whisper, features: list[Features], spoken: list[Sentence]) -> None:
    (found,) = whisper.generate(whisper.encode(features[:1], 500), [ENGLISH], Search(), 50)
    assert whisper.text(found.tokens) == " " + spoken[0].text
    assert any(token >= whisper.timestamp_begin for token in found.tokens)
    assert -0.5 < found.mean_log_probability < 0
    assert 0.5 < found.compression_ratio < 1.5
    assert 0 <= found.no_speech_probability < 0.2


def test_a_wider_search_is_at_least_as_likely(whisper: Whisper, features: list[Features]) -> None:
    encoded = whisper.encode(features[:3], 500)
    narrow, wide = (whisper.generate(encoded, [ENGLISH] * 3, Search(beams), 50) for beams in (1, 5))
    for one, other in zip(narrow, wide, strict=True):
        assert other.mean_log_probability >= one.mean_log_probability - 1e-6


@pytest.mark.parametrize("most", [20, 57, 112])
@pytest.mark.parametrize("prompt", [None, "budget roadmap", "the budget and the roadmap " * 40])
def test_a_text_without_an_end_stops_at_max_tokens(
    whisper: Whisper, endless: Any, prompt: str | None, most: int
) -> None:
    before = whisper.context(prompt, None)
    (found,) = whisper.generate(endless, [Prompt("en", "transcribe", before)], Search(), most)
    assert most <= len(found.tokens) <= most + 1
    assert found.is_cut


def test_no_text_is_longer_than_the_model_supports(whisper: Whisper, endless: Any) -> None:
    (found,) = whisper.generate(endless, [ENGLISH], Search(), 10_000)
    assert len(found.tokens) == 448 // 2
    assert found.is_cut


def spelled(whisper: Whisper, tokens: tuple[int, ...]) -> str:
    return str(whisper._vocabulary.decode(list(tokens), skip_special_tokens=False))


@pytest.mark.parametrize(
    ("prompt", "hotwords", "expected"),
    [
        (None, None, ""),
        ("", "  ", ""),
        ("The budget. ", None, "<|startofprev|> The budget."),
        (None, "Emma, Brian", "<|startofprev|> Emma, Brian"),
        ("The budget.", "Emma", "<|startofprev|> Emma The budget."),
        ("예산", None, "<|startofprev|> 예산"),
        ("<|endoftext|>The <|ko|><|0.00|>budget.", "<|startoftranscript|>", "<|startofprev|> The budget."),
    ],
)
def test_the_context_has_hotwords_and_prompt(
    whisper: Whisper, prompt: str | None, hotwords: str | None, expected: str
) -> None:
    found = whisper.context(prompt, hotwords)
    assert " ".join(spelled(whisper, found).split()) == expected


def test_a_long_prompt_keeps_its_end_and_hotwords_get_the_rest(whisper: Whisper) -> None:
    sentence = "We decided to present the prototype. "
    long = whisper.context(sentence * 100, "Emma")
    assert len(long) == 1 + 223
    assert spelled(whisper, long).endswith("We decided to present the prototype.")
    assert "Emma" not in spelled(whisper, long)
    both = whisper.context("The budget.", "Emma " * 300)
    assert len(both) == 1 + 223
    assert spelled(whisper, both).endswith(" The budget.")


class Broken:
    """A model whose methods all raise."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_args: Any, **_more: Any) -> Any:
            raise self._error

        return fail


@pytest.mark.parametrize("call", ["encode", "detect", "generate", "align"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA failed with error out of memory"), OutOfMemory),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"), OutOfMemory),
        (RuntimeError("parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("CUDA failed with error unspecified launch failure"), DeviceLost),
        (RuntimeError("CUDA failed with error invalid argument"), RuntimeError),
        (ValueError("out of memory of what it was"), ValueError),
    ],
)
def test_errors_of_the_device_are_recognised(
    whisper: Whisper,
    features: list[Features],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    error: Exception,
    expected: type[Exception],
) -> None:
    encoded = whisper.encode(features[:1], 500)
    monkeypatch.setattr(whisper, "_model", Broken(error))
    calls: dict[str, Callable[[], Any]] = {
        "encode": lambda: whisper.encode(features[:1], FULL_WINDOW),
        "detect": lambda: whisper.detect_languages(encoded),
        "generate": lambda: whisper.generate(encoded, [ENGLISH], Search(), 50),
        "align": lambda: whisper.align(encoded, "en", "transcribe", [[300, 301]], [100]),
    }
    with pytest.raises(expected) as caught:
        calls[call]()
    assert type(caught.value) is expected
