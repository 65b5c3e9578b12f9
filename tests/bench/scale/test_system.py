from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from bench.load import Lateness, Meeting, Report, Told, Window
from bench.scale.system import Compared, Probe, Search, final_latencies, summary
from contract import RATE

BEGAN = 100.0
PADDING = 0.3


def meeting(told: Sequence[Told], *, seconds: float = 10.0, **changed: Any) -> Meeting:
    """One whose frames were each handed over when they were due."""
    frames = round(seconds * 1_000 / 30)
    found: dict[str, Any] = {
        "stream": 0,
        "job": "j",
        "asked": BEGAN,
        "began": BEGAN,
        "over": BEGAN + seconds,
        "samples": frames * 480,
        "acked": frames * 480,
        "frame_ms": 30,
        "close": 1000,
        "error": None,
        "told": told,
        "handed": [0.03 * frame for frame in range(frames)],
    }
    return Meeting(**(found | changed))


def final(index: int, speech_end: float, at: float) -> Told:
    return Told(index, round((speech_end + PADDING) * RATE), BEGAN + at, "I agree.")


def window(began: float, ended: float) -> Window:
    return Window(BEGAN + began, BEGAN + ended, 1, 1, 1, 0, 0.1, Lateness(Counter({0: 1})), 30)


def test_a_final_counts_from_the_frame_with_the_last_of_the_speech() -> None:
    # Speech ends with sample 48 000 = with the last of frame 99, which was handed over at 2.97 s.
    (latency,) = final_latencies(Report([meeting([final(0, 3.0, 3.8)])]), window(0, 10))
    assert latency == pytest.approx(3.8 - 2.97)


def test_only_speech_that_ends_in_the_window_counts_whenever_its_final_comes() -> None:
    told = [final(0, 1.0, 1.7), final(1, 3.0, 3.7), final(2, 5.9, 9.0), final(3, 6.1, 7.0)]
    found = final_latencies(Report([meeting(told)]), window(2, 6))
    assert found == [pytest.approx(0.73, abs=0.01), pytest.approx(3.13, abs=0.01)]


@pytest.mark.parametrize(
    ("latencies", "complaint", "held"),
    [
        ([0.7] * 19 + [9.0], "", True),
        ([0.7] * 18 + [2.1, 9.0], "", False),
        ([2.0], "", True),
        ([], "", False),
        ([], "nobody came", False),
        ([0.7], "one was not served", False),
    ],
)
def test_streams_are_held_where_all_are_served_and_95_of_100_finals_in_time(
    latencies: list[float], complaint: str, held: bool
) -> None:
    assert Probe("stenobus", 8, latencies, 0.5, complaint).held(2.0) is held


def compared() -> Compared:
    probes = [
        Probe("stenobus", 8, [0.7, 0.8], 0.4),
        Probe("inprocess", 8, [1.0, 3.0], 0.8),
        Probe("stenobus", 16, [0.9, 1.1], 0.9),
        Probe("inprocess", 4, [], 0.0, "none of 4 clients could come: no"),
        Probe("stenobus", 16, [1.9, 2.2], 0.9, doubt="the clients themselves could not keep the pace"),
    ]
    return Compared(probes, {"stenobus": [16, 12], "inprocess": [4, 6]})


def test_summary_has_the_figures_that_others_compare() -> None:
    found = summary(compared(), 2.0)
    assert (found["streams_p95_2s"], found["streams_p95_2s_inprocess"], found["streams_ratio"]) == (14, 5, 2.8)
    assert found["streams_tried_at_most"] == 16
    assert found["system"][0] == {
        "contender": "stenobus",
        "streams": 8,
        "p50_ms": 700.0,
        "p95_ms": 800.0,
        "finals": 2,
        "machine_busy": 0.4,
        "complaint": "",
        "doubt": "",
    }
    assert found["system"][3]["p95_ms"] is None


@pytest.mark.parametrize("limit", [0, 1, 7, 8, 27, 100, 450])
def test_the_search_ends_within_a_tenth_below_the_limit(limit: int) -> None:
    search = Search(start=8, most=512)
    while (streams := search.due) is not None:
        search.tell(held=streams <= limit)
    assert search.low <= limit < search.high
    assert search.high - search.low <= max(1, search.low // 10)


def test_the_search_forgets_a_failure_that_does_not_come_again() -> None:
    answers = iter([True, False, True, False, False])
    search = Search(start=10, most=1_000)
    for _ in range(5):
        assert search.due is not None
        search.tell(held=next(answers))
    assert (search.low, search.high) == (20, 40)
