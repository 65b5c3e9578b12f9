from __future__ import annotations

from typing import Any

import pytest

from bench.load import Plan

URL = "http://127.0.0.1:8000"


def test_a_plan_survives_its_line() -> None:
    plan = Plan(URL, 3, options={"partials": False, "vad": {"max_ms": 9}}, meeting=(1.0, 2.5), times=True)
    line = plan.encode()
    assert "\n" not in line
    assert Plan.decode(line) == plan
    assert Plan.decode(Plan(URL, 1).encode()) == Plan(URL, 1)


@pytest.mark.parametrize(
    ("streams", "processes", "shares"), [(1, 0, 1), (700, 0, 1), (701, 0, 2), (2_000, 0, 3), (2, 5, 2), (10, 3, 3)]
)
def test_as_many_processes_as_it_takes(streams: int, processes: int, shares: int) -> None:
    assert Plan(URL, streams, processes=processes).shares == shares


def test_they_come_fifty_a_second_unless_told_otherwise() -> None:
    assert Plan(URL, 300).opening == 6.0
    assert Plan(URL, 300, ramp=0.0).opening == 0.0


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"streams": 0}, "0 streams: at least 1"),
        ({"frame_ms": 9}, "frames of 9 ms: 10 to 1000 are taken"),
        ({"frame_ms": 1_001}, "frames of 1001 ms"),
        ({"meeting": (3.0, 2.0)}, r"meetings of \(3.0, 2.0\) s: the least first"),
        ({"meeting": (0.0, 2.0)}, "more than 0"),
        ({"meeting": (1.0, 2.0), "burst": 1.0}, "meeting and burst both"),
        ({"talk": 5.0, "silent": True}, "talk and silent both"),
        ({"ramp": -1.0}, "below 0"),
    ],
)
def test_what_cannot_be_done_is_said(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Plan(**{"url": URL, "streams": 1, **wrong})
