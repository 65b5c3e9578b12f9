from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.load import Report
from bench.soak.figures import Growth, Sample, growth, losses, summary
from tests.bench.scale.test_system import meeting

HOUR = 3_600.0


def samples(edge: Callable[[float], float], seconds: float = HOUR, every: float = 60.0) -> list[Sample]:
    """What the edge has, in megabytes, as a function of the time in hours; the segmenter always has 50."""
    moments = [number * every for number in range(round(seconds / every) + 1)]
    return [Sample(at, {"edge": 1_024 * edge(at / HOUR), "vad": 1_024 * 50.0}) for at in moments]


def test_a_steady_growth_is_the_slope() -> None:
    found = growth(samples(lambda hours: 70 + 12 * hours))
    assert found["edge"].an_hour == pytest.approx(12)
    assert (found["edge"].first, found["edge"].last, found["edge"].most) == (70, 82, 82)
    assert (found["vad"].first, found["vad"].last, found["vad"].most) == (50, 50, 50)
    assert found["vad"].an_hour == pytest.approx(0, abs=1e-6)


def test_what_grows_in_the_first_third_alone_is_no_slope() -> None:
    found = growth(samples(lambda hours: 70 + 300 * min(hours, 1 / 3)))
    assert found["edge"].an_hour == pytest.approx(0, abs=1e-6)
    assert found["edge"].last - found["edge"].first == pytest.approx(100)


def heard(stored: dict[str, int], **changed: Any) -> list[str]:
    return losses(Report([meeting([], job="j", **changed)]), stored)


@pytest.mark.parametrize(
    ("changed", "stored", "sentence"),
    [
        ({"samples": 960, "acked": 960}, {"j": 480}, "job j: 960 samples were acked, 480 are stored"),
        ({"samples": 960, "acked": 960}, {}, "job j: nobody came to the end of its 960 acked samples"),
        ({"samples": 960, "acked": 480}, {"j": 960}, "job j: 960 samples sent, 480 acked, 960 stored"),
        ({"samples": 960, "acked": 960}, {"j": 1_440}, "job j: 960 samples sent, 960 acked, 1440 stored"),
        ({"samples": 960, "acked": 480, "error": "x"}, {"j": 0}, "job j: 480 samples were acked, 0 are stored"),
    ],
)
def test_what_is_lost_is_told(changed: dict[str, Any], stored: dict[str, int], sentence: str) -> None:
    assert heard(stored, **changed) == [sentence]


def test_summary_has_the_figures_that_others_compare() -> None:
    meetings = [meeting([], samples=960, acked=960), meeting([], samples=960, acked=480, error="closed by the server")]
    found = summary({"edge": Growth(70.04, 82, 85, 12)}, Report(meetings), {"j": 960, "k": 480}, ["job k: ..."])
    assert (found["samples_sent"], found["samples_acked"], found["samples_stored"]) == (1_920, 1_440, 1_440)
    assert (found["meetings"], found["jobs_with_losses"], found["errors"]) == (2, 1, {"closed by the server": 1})
    assert found["slope_mb_per_hour"] == {"edge": 12}
    assert found["memory_mb"] == {"edge": {"first": 70.0, "last": 82, "most": 85}}
