"""Batches through the decoder with the real, tiny model: the same alone and in company, also in short windows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jiwer
import numpy as np
import pytest

from contract import SpeechOptions
from processors.stt.core import Heard
from processors.stt.decoder import FALLBACK, Sound, decode, most_tokens
from processors.stt.whisper import FULL_WINDOW, Prompt, Search, Whisper
from tests.processors.stt.sounds import SHORTEST, Sentence, louder, noisy, packed, prepared

GREEDY = Search()


@pytest.fixture(scope="module")
def utterances(whisper: Whisper, spoken: list[Sentence]) -> list[Sound]:
    """200 utterances of 1.3 to 12 s: one to three sentences, soft, in noise, packed, said over and over."""
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
    for number in range(200):
        said = [spoken[n] for n in random.integers(0, len(spoken), random.choice((1, 1, 1, 2, 3)))]
        pcm = b"".join(sentence.pcm for sentence in said)
        if number % 4 == 1:
            pcm = louder(pcm, -random.uniform(5, 30))
        elif number % 4 == 2:
            pcm = noisy(pcm, random.uniform(-5, 20), random)
        elif number % 40 == 3:
            pcm = packed(said[:1] * 9)
        which = options[number % len(options)]
        if number % 5 == 0:
            which = which.model_copy(update={"language": said[0].language})
        found.append(prepared(whisper, pcm[: 2 * 12 * 16_000], which, draft=number % 20 == 7))
    return found


def test_what_a_sound_gives_is_the_same_alone_and_in_any_company(whisper: Whisper, utterances: list[Sound]) -> None:
    lengths = [one.frames for one in utterances]
    assert min(lengths) < 150
    assert max(lengths) == 1_200
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number in np.random.default_rng(1).permutation(len(utterances)):
        groups[utterances[number].group].append(number)
    batches = [group[n : n + 8] for group in groups.values() for n in range(0, len(group), 8)]
    assert sum(len({utterances[n].options.language for n in batch}) > 1 for batch in batches) > 5
    with ThreadPoolExecutor(2) as pool:
        alone = [one for (one,) in pool.map(lambda one: decode(whisper, [one], GREEDY), utterances)]
        together = pool.map(lambda batch: decode(whisper, [utterances[n] for n in batch], GREEDY), batches)
        company = {
            n: one for batch, found in zip(batches, together, strict=True) for n, one in zip(batch, found, strict=True)
        }
    assert {one.language for one in alone} == {"en", "ko"}
    assert sum(one.decoding["fallback"] is not None for one in alone) >= 2
    for number, one in enumerate(alone):
        assert_same(one, company[number])


def assert_same(one: Heard, other: Heard) -> None:
    """The same text at the same times, and probabilities that differ by no more than rounding does."""
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
    groups: dict[Hashable, list[tuple[Sentence, Sound]]] = defaultdict(list)
    for sentence in said:
        one = prepared(whisper, sentence.pcm, shortest=shortest)
        groups[one.group].append((sentence, one))
    batches = [group[n : n + 8] for group in groups.values() for n in range(0, len(group), 8)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda batch: decode(whisper, [one for _, one in batch], GREEDY), batches))
    texts = [plain(one.text) for batch in found for one in batch]
    return float(jiwer.wer([plain(sentence.text) for batch in batches for sentence, _ in batch], texts))


def test_short_windows_cost_no_words(whisper: Whisper, spoken: list[Sentence]) -> None:
    said = spoken[::2]
    long = word_error_rate(whisper, said, FULL_WINDOW)
    assert word_error_rate(whisper, said, SHORTEST) <= long + 0.01
    assert long < 0.05


def test_a_sound_that_comes_out_poor_has_what_the_long_window_and_the_wide_search_give(
    whisper: Whisper, spoken: list[Sentence]
) -> None:
    one = prepared(whisper, packed([spoken[12]] * 9)[: 2 * 8 * 16_000])
    (found,) = decode(whisper, [one], GREEDY)
    assert found.decoding["window"] == 10.0
    assert found.decoding["fallback"] == {"beam_size": 5, "repetition_penalty": 1.1}
    encoded = whisper.encode([one.features], FULL_WINDOW)
    (again,) = whisper.generate(encoded, [Prompt(found.language, "transcribe")], FALLBACK, most_tokens(FULL_WINDOW))
    assert found.text == " ".join(whisper.text(again.tokens).split())
