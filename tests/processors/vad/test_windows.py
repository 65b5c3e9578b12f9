from __future__ import annotations

import pytest

from contract import RATE, Window
from processors.vad.windows import next_window

BEFORE = Window(first=3, samples=10 * RATE)


def test_the_first_utterance_starts_a_window() -> None:
    assert next_window(None, 5 * RATE, 0, 2 * RATE) == Window(first=0, samples=2 * RATE)


@pytest.mark.parametrize(
    ("pause", "kept"), [(0, 0), (8_000, 8_000), (16_000, 16_000), (16_001, 16_000), (64_000, 16_000)]
)
def test_a_pause_is_cut_down_to_a_second(pause: int, kept: int) -> None:
    assert next_window(BEFORE, pause, 5, RATE) == Window(first=3, samples=11 * RATE + kept)


def test_a_long_pause_starts_a_window() -> None:
    assert next_window(BEFORE, 4 * RATE + 1, 5, RATE) == Window(first=5, samples=RATE)


def test_a_window_is_at_most_28_seconds_long() -> None:
    assert next_window(BEFORE, RATE, 5, 17 * RATE) == Window(first=3, samples=28 * RATE)
    assert next_window(BEFORE, RATE, 5, 17 * RATE + 1) == Window(first=5, samples=17 * RATE + 1)
    assert next_window(BEFORE, 0, 5, 28 * RATE) == Window(first=5, samples=28 * RATE)
