"""The real engine with a real, very small model on committed sound."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faster_whisper
import jiwer
import numpy as np
import pytest

from audio import AudioError
from bus.messages import SpeechOptions, Utterance
from processors.stt.core import Heard, Unfit, transcript
from processors.stt.engine import Engine, hash_model
from tests.processors.stt.sounds import Sentence, hard, sentences, sound

ROOT = Path(__file__).parents[3]
MICRO = ROOT / "models/whisper-micro"
DETECT = SpeechOptions()


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def text(heard: Heard) -> str:
    return "".join(segment.text for segment in heard.segments).strip()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(str(MICRO), device="cpu", workers=2, threads=1)


@pytest.fixture(scope="module")
def english() -> list[Sentence]:
    return sentences("standup")[:5]


@pytest.fixture(scope="module")
def korean() -> list[Sentence]:
    return sentences("korean")[:3]


@pytest.fixture(scope="module")
def heard_english(engine: Engine, english: list[Sentence]) -> list[Heard]:
    return [engine.transcribe(sentence.pcm, DETECT) for sentence in english]


def test_english_is_understood_and_recognised(english: list[Sentence], heard_english: list[Heard]) -> None:
    heard = heard_english
    assert {h.language for h in heard} == {"en"}
    assert all(h.language_probability > 0.5 and h.no_speech_probability < 0.5 for h in heard)
    assert jiwer.wer([plain(s.text) for s in english], [plain(text(h)) for h in heard]) <= 0.15


def test_korean_is_understood_and_recognised(engine: Engine, korean: list[Sentence]) -> None:
    heard = [engine.transcribe(sentence.pcm, DETECT) for sentence in korean]
    assert {h.language for h in heard} == {"ko"}
    assert jiwer.cer([plain(s.text) for s in korean], [plain(text(h)) for h in heard]) <= 0.15


def test_words_make_the_text_in_order_and_within_the_utterance(
    engine: Engine, english: list[Sentence], heard_english: list[Heard]
) -> None:
    for sentence, heard in zip(english, heard_english, strict=True):
        start, end = 160_000, 160_000 + len(sentence.pcm) // 2
        utterance = Utterance(job="j", index=0, start=start, end=end, pcm=sentence.pcm)
        made = transcript(utterance, heard, engine.model, 0)
        edges = [start, *(edge for word in made.words for edge in (word.start, word.end)), end]
        assert edges == sorted(edges)
        assert " ".join(word.word for word in made.words) == made.text
        assert 0.3 < made.confidence <= 1
        assert type(made).decode(made.encode()) == made


@pytest.mark.parametrize("name", ["silence", "noise"])
def test_where_nobody_speaks_there_are_no_words(engine: Engine, name: str) -> None:
    heard = engine.transcribe(sound(name)[: 2 * 16_000 * 5], DETECT)
    assert heard.segments == ()
    assert heard.no_speech_probability > 0.5


@pytest.mark.parametrize("samples", [0, 200, 201])
def test_sound_too_short_for_a_word_has_none(engine: Engine, samples: int) -> None:
    assert engine.transcribe(bytes(2 * samples), DETECT).segments == ()


def test_options_reach_the_decoder_and_are_told(engine: Engine, english: list[Sentence]) -> None:
    options = SpeechOptions(language="en", prompt="budget, roadmap", task="translate")
    heard = engine.transcribe(english[0].pcm, options)
    assert (heard.language, heard.language_probability) == ("en", 1.0)
    how = {"beam_size": 1, "compute_type": "int8", "temperature": 0.0, "fallback": None}
    assert heard.decoding == {**options.model_dump(), **how}
    assert heard.segments[0].tokens > 0


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        (SpeechOptions(language="ko"), "<|startoftranscript|><|ko|><|transcribe|>"),
        (SpeechOptions(language="ko", task="translate"), "<|startoftranscript|><|ko|><|translate|>"),
        (
            SpeechOptions(language="en", prompt="The budget"),
            "<|startofprev|> The budget<|startoftranscript|><|en|><|transcribe|>",
        ),
    ],
)
def test_the_decoder_is_prompted_with_language_task_and_text(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, options: SpeechOptions, prompt: str
) -> None:
    prompts: list[str] = []
    decode_window = faster_whisper.WhisperModel.generate_with_fallback

    def listen(self: Any, encoded: Any, tokens: list[int], *rest: Any) -> Any:
        prompts.append(self.hf_tokenizer.decode(tokens, skip_special_tokens=False))
        return decode_window(self, encoded, tokens, *rest)

    monkeypatch.setattr(faster_whisper.WhisperModel, "generate_with_fallback", listen)
    engine.transcribe(bytes(32_000), options)
    assert prompts[0] == prompt


def test_an_utterance_goes_through_the_encoder_once(
    engine: Engine, english: list[Sentence], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    encode = faster_whisper.WhisperModel.encode

    def count(self: Any, features: Any) -> Any:
        passes.append(features.shape)
        return encode(self, features)

    monkeypatch.setattr(faster_whisper.WhisperModel, "encode", count)
    detected = engine.transcribe(english[2].pcm, DETECT)
    assert len(passes) == 1
    assert text(engine.transcribe(english[2].pcm, SpeechOptions(language="en"))) == text(detected)


def test_text_survives_when_its_words_cannot_be_placed(
    engine: Engine, english: list[Sentence], heard_english: list[Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    align = faster_whisper.WhisperModel.find_alignment

    def collapse(self: Any, *args: Any) -> Any:
        return [
            [{**word, "start": np.float64(0), "end": np.float64(0)} for word in words] for words in align(self, *args)
        ]

    monkeypatch.setattr(faster_whisper.WhisperModel, "find_alignment", collapse)
    heard = engine.transcribe(english[2].pcm, DETECT)
    assert text(heard) == text(heard_english[2])
    edges = [edge for segment in heard.segments for word in segment.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[0] < edges[-1]


def test_the_same_sound_gives_the_same_result_every_time_and_on_every_worker(engine: Engine) -> None:
    utterances = hard()
    heard = [engine.transcribe(pcm, DETECT) for pcm in utterances]
    assert {bool(h.decoding["fallback"]) for h in heard} == {False, True}
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(lambda pcm: engine.transcribe(pcm, DETECT), reversed(utterances)))
    assert again[::-1] == heard
    other = Engine(str(MICRO), device="cpu", threads=2)
    order = np.random.default_rng(1).permutation(len(utterances))
    assert [other.transcribe(utterances[index], DETECT) for index in order] == [heard[index] for index in order]


def test_half_a_sample_is_refused(engine: Engine) -> None:
    with pytest.raises(AudioError, match="odd length"):
        engine.transcribe(bytes(3), DETECT)


@pytest.mark.parametrize("language", ["xx", "yue"])
def test_a_language_that_the_model_does_not_know_is_refused_with_those_accepted(engine: Engine, language: str) -> None:
    """Whisper knew no Cantonese before large-v3."""
    with pytest.raises(Unfit, match=rf"^language '{language}': unknown to whisper-micro; accepted: .*\bko\b"):
        engine.transcribe(bytes(32_000), SpeechOptions(language=language))


def test_the_model_is_named_after_its_folder_and_hashed(engine: Engine) -> None:
    assert engine.model.name == "whisper-micro"
    assert engine.model.hash == hash_model(MICRO)
    assert re.fullmatch("[0-9a-f]{16}", engine.model.hash)
