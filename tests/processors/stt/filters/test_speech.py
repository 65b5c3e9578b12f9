"""The speech detector on the committed sounds, as they are and made hard, cut by the real segmenter."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio import RATE, to_float32
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
from tests.processors.stt.hardships import HARDSHIPS, SPOKEN, segments_with_speech
from tests.processors.stt.sounds import SAMPLES, sentences, sound


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_nothing_that_was_said_is_rejected(detector: SpeechDetector, hardship: str) -> None:
    found = {name: segments_with_speech(name, hardship) for name in SPOKEN}
    assert all(found[name] for name in set(SPOKEN) - {"quiet"})  # which the segmenter does not hear 30 dB softer
    rejected = [
        (name, segment.start)
        for name, segments in found.items()
        for segment in segments
        if not has_speech(detector.probabilities(to_float32(segment.pcm)))
    ]
    assert rejected == []


def test_there_is_room_between_ordinary_speech_and_the_threshold(detector: SpeechDetector) -> None:
    said = [sentence.pcm for name in ("standup", "meeting", "korean", "quiet") for sentence in sentences(name)]
    assert min(speech_score(detector.probabilities(to_float32(pcm))) for pcm in said) > 0.9


def test_what_is_certain_is_heard_no_further(detector: SpeechDetector) -> None:
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
def test_a_silent_room_has_no_speech(detector: SpeechDetector, name: str) -> None:
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
def test_each_chunk_that_was_begun_has_a_probability(detector: SpeechDetector, samples: int, chunks: int) -> None:
    found = detector.probabilities(np.zeros(samples, np.float32))
    assert found.shape == (chunks,)
    assert found.dtype == np.dtype(np.float32)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_same_sound_gives_the_same_figures_in_any_thread(detector: SpeechDetector) -> None:
    sounds = [to_float32(pcm) for pcm in (*(sentence.pcm for sentence in sentences("standup")), sound("noise"))]
    alone = [detector.probabilities(sound).tolist() for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sound: detector.probabilities(sound).tolist(), sounds * 4))
    assert together == alone * 4
    assert SpeechDetector().probabilities(sounds[0]).tolist() == alone[0]


def test_the_sound_is_left_as_it_is(detector: SpeechDetector) -> None:
    heard = to_float32(sentences("standup")[0].pcm)
    before = heard.copy()
    detector.score(heard)
    detector.probabilities(heard)
    assert heard.tobytes() == before.tobytes()


def test_the_engine_that_brings_the_network_is_not_loaded_for_it() -> None:
    code = "import sys; from processors.stt.filters.speech import SpeechDetector; SpeechDetector()\n"
    code += "print(sorted({'ctranslate2', 'faster_whisper'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


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


def test_no_sound_has_no_speech() -> None:
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
def test_more_sound_around_it_never_hides_speech(probabilities: list[float], data: st.DataObject) -> None:
    more = st.lists(st.floats(0, 1, width=32), max_size=20)
    around = [*data.draw(more), *probabilities, *data.draw(more)]
    inner = speech_score(chunks(*probabilities))
    assert 0 <= inner <= max(probabilities) + 1e-6
    if len(probabilities) >= 5:
        assert speech_score(chunks(*around)) >= inner - 1e-6
