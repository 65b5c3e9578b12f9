from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.soak.__main__ import SoakFailed, SoakPlan, check_room, main

pytestmark = pytest.mark.timeout(180)


@pytest.mark.slow
def test_meetings_come_and_go_and_not_a_sample_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--streams", "10", "--minutes", "0.15", "--meeting", "1", "3", "--every", "0.5"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["meetings"] > 20
    assert found["samples_sent"] == found["samples_acked"] == found["samples_stored"] > 10 * 9 * 16_000 * 0.5
    assert (found["jobs_with_losses"], found["errors"]) == (0, {})
    assert found["slope_mb_per_hour"].keys() == found["memory_mb"].keys() == {"edge", "nats", "redis", "vad"}
    assert all(0 < memory["first"] <= memory["most"] for memory in found["memory_mb"].values())
    assert {line.split()[0] for line in lines if line.startswith(("edge", "nats", "redis", "vad"))} == {
        "edge",
        "nats",
        "redis",
        "vad",
    }


def test_a_disk_that_is_too_small_is_told_before_anything_starts(tmp_path: Path) -> None:
    check_room(SoakPlan(1, 10, (1, 3), 1), tmp_path)
    with pytest.raises(SoakFailed, match=r"GB are needed, .* GB are free; fewer --streams help, or another disk"):
        check_room(SoakPlan(10**9, 60, (1, 3), 1), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--streams", "0"], "'0' is not a number from 1 to 4096"),
        (["--minutes", "soon"], "'soon' is not a number from 0.05 to 10000"),
        (["--meeting", "3", "1"], "--meeting 3 1: the least first is accepted"),
        (["--meeting", "60", "5000"], "'5000' is not a number from 0.5 to 450"),
    ],
)
def test_a_bad_argument_is_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err
