"""What is counted as an error, and what the mixes are; the bench as a whole is in `tests/bench/test_programs.py`."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from audio import RATE
from bench.words.figures import Counted, Errors, Result, count, summary, table
from bench.words.material import made_sounds
from bench.words.mixes import NOISES, background, mix, telephone
from tests.processors.stt.acoustics import level, noise, pcm, tone


def test_spelling_numbers_and_fillers_are_no_errors() -> None:
    said, written = "mister smith paid twenty one dollars uh he is well known", "Mr. Smith paid $21. He's well-known!"
    assert count(said, written, "en") == Counted(Errors(0, 8), Errors(0, 38))


def test_numbers_in_other_languages_are_no_errors_either() -> None:
    assert count("testar två tre fyra", "Testar 2, 3, 4.", "sv").words == Errors(0, 4)


def test_substitutions_deletions_and_insertions_are_errors() -> None:
    assert count("the epoch of belief", "the U-pop of the leaf", "en").words == Errors(4, 4)
    assert count("and here is", "", "en").words == Errors(3, 3)
    assert count("", "thank you", "en").words == Errors(2, 0)


def test_japanese_has_character_errors_only() -> None:
    assert count("電球が、ともっていた。", "電気がともっていた", "ja") == Counted(Errors(0, 0), Errors(1, 9))


def test_errors_are_summed_over_a_group_and_other_languages_stay_out_of_the_total() -> None:
    def result(name: str, group: str, language: str, said: str, live: str, offline: str) -> Result:
        return Result(
            name, group, language, said, {"live": live, "corrected": offline, "fast": live, "offline": offline}
        )

    results = [
        result("short", "people", "en", "one no", "one", "one no"),
        result("long", "reading", "en", "a b c d e f g h", "a b c d e f g h", "a b c d e f g x"),
        result("Swedish", "other languages", "sv", "tyst nu", "tyst", "tyst nu"),
    ]
    found = summary(results, ("live", "corrected", "fast", "offline"))
    assert (found["wer_live"], found["wer_offline"], found["gap_points"]) == (10, 10, 0)
    assert (found["gap_people"], found["gap_reading"], found["gap_other_languages"]) == (50, -12.5, 50)
    assert found["gap_points_corrected"] == 0
    rows = table(results, {"live": "live", "offline": "offline"}).splitlines()
    assert [row.split()[0] for row in rows[1:4]] == ["short", "long", "Swedish"]
    assert rows[-1].split()[:6] == ["=", "all", "English", "10", "10.0", "/"]


@pytest.mark.parametrize("name", NOISES)
def test_a_background_has_the_asked_level_and_is_always_the_same(name: str) -> None:
    speech = level(noise(np.random.default_rng(1), 3), -20)
    voices = [tone(200, 2), tone(300, 3)]
    made = mix(speech, background(name, 3, voices), 10)
    assert np.array_equal(made, mix(speech, background(name, 3, voices), 10))
    other = made - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(other**2)) == pytest.approx(10, abs=0.01)


def test_a_telephone_passes_its_band_and_nothing_else() -> None:
    inside, outside = level(tone(1_000, 1), -20), level(tone(100, 1) + tone(5_000, 1), -20)
    heard = np.frombuffer(telephone(pcm(inside + outside)), "<i2") / 32_768
    spectrum = np.abs(np.fft.rfft(heard)) / len(heard) * 2
    assert spectrum[1_000] == pytest.approx(np.sqrt(2) * 0.1, rel=0.05)
    assert spectrum[[100, 5_000]].max() < 0.001


def test_sounds_without_speech_are_all_different_and_always_the_same() -> None:
    sounds = list(islice(made_sounds(), 120))
    assert len({name for name, _ in sounds}) == 120
    assert len({made for _, made in sounds}) >= 119  # digital silence stays silence, though of another length
    assert all(2 * RATE < len(made) < 27 * RATE for _, made in sounds)
    assert dict(islice(made_sounds(), 60)) == dict(sounds[:60])
