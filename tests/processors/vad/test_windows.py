from __future__ import annotations

import pytest

from contract import RATE, Window
from processors.vad.windows import next_window

BEFORE = Window(first=3, samples=10 * RATE)


def test_the_first_utterance_starts_a_window() -> None:
    assert next_window(None, 5 * RATE, 2 * RATE, 0, 2 * RATE) == Window(first=0, samples=2 * RATE)


@pytest.mark.parametrize("lead", [0, 8_000, 2 * RATE])
def test_a_pause_counts_as_far_as_it_is_kept(lead: int) -> None:
    assert next_window(BEFORE, 3 * RATE, lead, 5, RATE) == Window(first=3, samples=11 * RATE + lead)


def test_a_long_pause_starts_a_window() -> None:
    assert next_window(BEFORE, 4 * RATE + 1, 2 * RATE, 5, RATE) == Window(first=5, samples=RATE)


def test_a_window_is_at_most_28_seconds_long() -> None:
    assert next_window(BEFORE, RATE, RATE, 5, 17 * RATE) == Window(first=3, samples=28 * RATE)
    assert next_window(BEFORE, RATE, RATE, 5, 17 * RATE + 1) == Window(first=5, samples=17 * RATE + 1)
    assert next_window(BEFORE, 0, 0, 5, 28 * RATE) == Window(first=5, samples=28 * RATE)
