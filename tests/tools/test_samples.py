"""The committed sounds say what their JSON files say, where they say it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from audio import RATE, decode
from tools.whisper_micro.grammar import accepts, spoken

SAMPLES = Path(__file__).parents[2] / "samples"
NAMES = ["korean", "meeting", "monologue", "noise", "noisy", "quiet", "silence", "standup"]
SPEECH = [name for name in NAMES if name not in ("noise", "silence")]

Sentences = list[dict[str, Any]]


def load(name: str) -> tuple[NDArray[np.float64], Sentences]:
    pcm = b"".join(decode(SAMPLES / f"{name}.flac"))
    script = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    languages = {sentence["language"] for sentence in script["sentences"]}
    assert script["language"] == (next(iter(languages)) if len(languages) == 1 else None)
    return np.frombuffer(pcm, "<i2").astype(np.float64), script["sentences"]


def decibels(sound: NDArray[np.float64]) -> float:
    """Power relative to full scale."""
    return float(10 * np.log10(np.mean((sound / 32_768) ** 2) + 1e-12))


def pauses(sound: NDArray[np.float64], sentences: Sentences) -> list[NDArray[np.float64]]:
    starts = [sentence["start"] for sentence in sentences[1:]]
    return [sound[before["end"] : start] for before, start in zip(sentences, starts, strict=False)]


def test_each_sound_has_its_text_and_nothing_else_lies_there() -> None:
    found = sorted(path.name for path in SAMPLES.iterdir())
    assert found == sorted(["README.md", *(f"{name}.{kind}" for name in NAMES for kind in ("flac", "json"))])


def test_together_they_are_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 4_000_000


@pytest.mark.parametrize("name", SPEECH)
def test_sentences_are_in_the_language_of_the_model(name: str) -> None:
    for sentence in load(name)[1]:
        assert accepts(spoken(sentence["text"]), sentence["language"]), sentence["text"]


@pytest.mark.parametrize("name", SPEECH)
def test_times_are_in_order_and_inside_the_sound(name: str) -> None:
    sound, sentences = load(name)
    edges = [edge for sentence in sentences for edge in (sentence["start"], sentence["end"])]
    assert edges == sorted(set(edges))
    assert edges[0] >= RATE // 4
    assert edges[-1] + RATE // 2 <= len(sound)


@pytest.mark.parametrize("name", SPEECH)
def test_energy_is_where_the_times_say(name: str) -> None:
    sound, sentences = load(name)
    loudest_pause = max(decibels(pause) for pause in (sound[: sentences[0]["start"]], *pauses(sound, sentences)))
    for sentence in sentences:
        assert decibels(sound[sentence["start"] : sentence["end"]]) > loudest_pause + 10, sentence["text"]


@pytest.mark.parametrize("name", sorted({*SPEECH} - {"monologue"}))
def test_sentences_are_far_enough_apart_to_be_cut(name: str) -> None:
    lengths = [len(pause) / RATE for pause in pauses(*load(name))]
    assert min(lengths) >= 0.9
    assert max(lengths) <= 1.5


def test_standup_is_a_small_meeting_in_english() -> None:
    sound, sentences = load("standup")
    assert 25 <= len(sound) / RATE <= 40
    assert {sentence["language"] for sentence in sentences} == {"en"}
    assert len({sentence["voice"] for sentence in sentences}) == 2
    texts = [sentence["text"] for sentence in sentences]
    assert any("We decided" in text for text in texts)
    assert any("Action item" in text for text in texts)


def test_meeting_mixes_languages_and_has_voices_never_heard_in_training() -> None:
    _, sentences = load("meeting")
    assert len(sentences) >= 24
    assert {sentence["language"] for sentence in sentences} == {"en", "ko"}
    assert {"m5", "f4", "m8"} <= {sentence["voice"].split("+")[1] for sentence in sentences}


def test_monologue_has_no_pause_to_cut_at() -> None:
    sound, sentences = load("monologue")
    assert sentences[-1]["end"] - sentences[0]["start"] > 35 * RATE
    assert max(len(pause) for pause in pauses(sound, sentences)) < 0.15 * RATE
    frames = np.abs(sound[sentences[0]["start"] : sentences[-1]["end"]])
    audible = np.flatnonzero(frames > 100)
    assert np.diff(audible).max() < 0.25 * RATE  # stops inside words included


def test_quiet_is_quiet_and_noisy_is_noisy() -> None:
    quiet, _ = load("quiet")
    assert -39 < 20 * np.log10(np.abs(quiet).max() / 32_768) < -37
    noisy, sentences = load("noisy")
    speech = np.concatenate([noisy[sentence["start"] : sentence["end"]] for sentence in sentences])
    noise = np.concatenate(pauses(noisy, sentences))
    assert 14 < decibels(speech) - decibels(noise) < 17


@pytest.mark.parametrize(("name", "least", "most"), [("silence", -100, -90), ("noise", -52, -48)])
def test_nobody_speaks(name: str, least: float, most: float) -> None:
    sound, sentences = load(name)
    assert sentences == []
    assert len(sound) == 5 * RATE
    for second in np.split(sound, 5):
        assert least < decibels(second) < most
