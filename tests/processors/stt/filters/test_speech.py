"""The speech detector: on the samples, as they are and degraded, and on synthetic sounds without speech."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio import RATE, WIDTH, to_float32
from bus import StartError
from processors.stt.filters import speech
from processors.stt.filters.speech import (
    CERTAIN_SPEECH,
    CHUNK,
    SPEECH_THRESHOLD,
    SpeechDetector,
    has_speech,
    speech_score,
)
from processors.vad.core import Parameters, Segmenter
from processors.vad.settings import webrtc_detector
from tests.processors.stt.degraded import DEGRADATIONS, SPOKEN, segments_with_speech
from tests.processors.stt.nonspeech import made, names
from tests.processors.stt.sounds import SAMPLES, sentences, sound


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_no_segment_with_speech_is_rejected(detector: SpeechDetector, degradation: str) -> None:
    found = {name: segments_with_speech(name, degradation) for name in SPOKEN}
    assert all(found[name] for name in set(SPOKEN) - {"quiet"})  # which the segmenter does not hear 30 dB softer
    rejected = [
        (name, segment.start)
        for name, segments in found.items()
        for segment in segments
        if not has_speech(detector.probabilities(to_float32(segment.pcm)))
    ]
    assert rejected == []


def test_ordinary_speech_is_far_above_the_threshold(detector: SpeechDetector) -> None:
    said = [sentence.pcm for name in ("standup", "meeting", "korean", "quiet") for sentence in sentences(name)]
    assert min(speech_score(detector.probabilities(to_float32(pcm))) for pcm in said) > 0.9


def test_the_score_is_exact_or_certain(detector: SpeechDetector) -> None:
    for name in ("standup", "korean", "noisy", "noise", "silence"):
        for pcm in [sentence.pcm for sentence in sentences(name)] if name in SPOKEN else [sound(name)[: 2 * 5 * RATE]]:
            heard = to_float32(pcm)
            whole, score = speech_score(detector.probabilities(heard)), detector.score(heard)
            assert score == pytest.approx(whole) or CERTAIN_SPEECH <= score < whole


def test_a_slam_before_a_word_does_not_hide_it(detector: SpeechDetector) -> None:
    word = np.frombuffer(sentences("standup")[-1].pcm, "<i2").astype(np.float64)
    slam = np.random.default_rng(1).standard_normal(8_000) * np.exp(-np.arange(8_000) / 1_500)
    slam *= 30 * np.sqrt(np.mean(word**2))
    mixed = np.concatenate([slam, word])
    assert has_speech(detector.probabilities((mixed / np.abs(mixed).max()).astype(np.float32)))


@pytest.mark.parametrize("name", ["silence", "noise"])
def test_silence_and_noise_have_no_speech(detector: SpeechDetector, name: str) -> None:
    assert not has_speech(detector.probabilities(to_float32(sound(name))))


def test_probabilities_are_where_the_words_are(detector: SpeechDetector) -> None:
    said = json.loads((SAMPLES / "standup.json").read_text("utf-8"))["sentences"]
    found = detector.probabilities(to_float32(sound("standup")))
    spoken = np.zeros(len(found), bool)
    for sentence in said:
        spoken[sentence["start"] // CHUNK : sentence["end"] // CHUNK] = True
    assert found[spoken].mean() > 0.8
    assert found[~spoken].mean() < 0.2


@pytest.mark.parametrize(("samples", "chunks"), [(0, 0), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (28 * RATE, 875)])
def test_each_chunk_has_a_probability_also_a_partial_one(detector: SpeechDetector, samples: int, chunks: int) -> None:
    found = detector.probabilities(np.zeros(samples, np.float32))
    assert found.shape == (chunks,)
    assert found.dtype == np.dtype(np.float32)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_same_audio_has_the_same_probabilities_in_any_thread(detector: SpeechDetector) -> None:
    sounds = [to_float32(pcm) for pcm in (*(sentence.pcm for sentence in sentences("standup")), sound("noise"))]
    alone = [detector.probabilities(sound).tolist() for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sound: detector.probabilities(sound).tolist(), sounds * 4))
    assert together == alone * 4
    assert SpeechDetector().probabilities(sounds[0]).tolist() == alone[0]


def test_the_input_is_not_modified(detector: SpeechDetector) -> None:
    heard = to_float32(sentences("standup")[0].pcm)
    before = heard.copy()
    detector.score(heard)
    detector.probabilities(heard)
    assert heard.tobytes() == before.tobytes()


def test_without_faster_whisper_the_start_stops_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "find_spec", lambda _name: None)
    with pytest.raises(StartError, match=r"^faster-whisper is not installed.*accepted: 1\.2\.1"):
        SpeechDetector()


def test_a_faster_whisper_without_the_network_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    origin = str(tmp_path / "__init__.py")
    monkeypatch.setattr(speech, "find_spec", lambda name: ModuleSpec(name, None, origin=origin))
    with pytest.raises(
        StartError, match=rf"{tmp_path}/assets/silero_vad_v6\.onnx is not there; faster-whisper 1\.2\.1"
    ):
        SpeechDetector()


def chunks(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_no_audio_has_no_speech() -> None:
    assert speech_score(chunks()) == 0.0
    assert not has_speech(chunks())


@pytest.mark.parametrize(
    ("probabilities", "score"),
    [
        pytest.param([0.0] * 30 + [0.9] * 5 + [0.0] * 30, 0.9, id="160 ms of speech in silence"),
        pytest.param([0.0] * 30 + [1.0] + [0.0] * 30, 0.2, id="one chunk is a click"),
        pytest.param([0.6, 0.8], 0.7, id="shorter than the smoothing"),
        pytest.param([0.5], 0.5, id="one chunk in all"),
        pytest.param([0.0] * 4 + [0.9] * 5, 0.9, id="at the very end"),
    ],
)
def test_score_is_the_best_mean_of_five_chunks(probabilities: list[float], score: float) -> None:
    assert speech_score(chunks(*probabilities)) == pytest.approx(score)


def test_the_threshold_itself_is_speech() -> None:
    assert has_speech(chunks(*[SPEECH_THRESHOLD + 1e-6] * 5))
    assert not has_speech(chunks(*[SPEECH_THRESHOLD - 1e-3] * 5))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=80), st.data())
def test_more_audio_around_it_never_hides_speech(probabilities: list[float], data: st.DataObject) -> None:
    more = st.lists(st.floats(0, 1, width=32), max_size=20)
    around = [*data.draw(more), *probabilities, *data.draw(more)]
    inner = speech_score(chunks(*probabilities))
    assert 0 <= inner <= max(probabilities) + 1e-6
    if len(probabilities) >= 5:
        assert speech_score(chunks(*around)) >= inner - 1e-6


MICRO = Path(__file__).parents[3] / "models/whisper-micro"


@cache
def segments(name: str, variant: int = 0) -> tuple[bytes, ...]:
    """The segments of a sound, cut with the default settings."""
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters())
    return tuple(segment.pcm for segment in segmenter.feed(made(name, variant)) + segmenter.finish())


def test_there_are_many_synthetic_sounds_and_they_are_reproducible() -> None:
    sounds = {name: made(name) for name in names()}
    assert sounds == {name: made(name) for name in names()}
    assert len(set(sounds.values())) == len(sounds) >= 20
    assert all(3 <= len(pcm) / (RATE * WIDTH) <= 10 for pcm in sounds.values())


def test_the_segmenter_alone_does_not_reject_them() -> None:
    assert sum(bool(segments(name)) for name in names()) >= 25


@pytest.mark.parametrize("name", names())
def test_no_speech_is_found_in_synthetic_sounds(detector: SpeechDetector, name: str) -> None:
    assert not any(has_speech(detector.probabilities(to_float32(pcm))) for pcm in segments(name))


@pytest.mark.slow
def test_random_variants_are_rarely_taken_for_speech(detector: SpeechDetector) -> None:
    """Footsteps in the rhythm of syllables can be, for example."""
    sounds = [to_float32(pcm) for name in names() for v in (1, 2, 3) for pcm in segments(name, v)]
    found = [has_speech(detector.probabilities(sound)) for sound in sounds]
    assert len(found) > 100
    assert sum(found) / len(found) < 0.03
