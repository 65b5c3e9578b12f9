from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.scale.figures import Run, doubts, medians, order, ratio, summary

LEVELS = (10, 50, 100, 300, 500)


def run(streams: int, total: float = 300.0, *, p99: float = 20.0, complaints: Sequence[str] = ()) -> Run:
    cpu = {"edge": total / 2, "nats": total / 4, "vad": total / 4}
    memory = {"edge": 30.0, "nats": 40.0, "vad": 50.0}
    return Run(streams, cpu, memory, {"p50": p99 / 4, "p99": p99}, {"p50": p99 / 2, "p99": 2 * p99}, complaints)


def test_a_machine_that_becomes_slower_at_a_steady_pace_does_not_look_like_a_slope() -> None:
    cost = 100.0
    rounds: list[list[Run]] = []
    for levels in order(LEVELS, 2):
        rounds.append([])
        for streams in levels:
            rounds[-1].append(run(streams, cost))
            cost += 1
    assert ratio(rounds, (50, 500)) == pytest.approx(1.0, abs=0.001)
    assert len({one.total for one in medians(rounds)}) == 1


def test_a_cost_that_grows_does() -> None:
    rounds = [[run(50, 100), run(500, 150)], [run(500, 260), run(50, 200)], [run(50, 100), run(500, 400)]]
    assert ratio(rounds, (50, 500)) == 1.5


def test_medians_are_by_level_and_keep_each_complaint_once() -> None:
    rounds = [[run(2, 100, complaints=["late"])], [run(4, 80), run(2, 300)], [run(2, 200, complaints=["late", "lost"])]]
    two, four = medians(rounds)
    assert (two.streams, two.total, two.complaints) == (2, 200, ["late", "lost"])
    assert (four.streams, four.total, four.complaints) == (4, 80, [])


def test_what_spoils_a_run_is_told() -> None:
    assert doubts([], 0.4, {"p99": 80.0}, ["", ""]) == []
    assert doubts([], 0.0, {}, []) == []
    assert doubts(["full", "full"], 1.7, {"p99": 2_500.0}, ["not in time", ""]) == [
        "2 clients could not come: full",
        "not in time",
        "acks fell behind by 1.7 s of the sound of each stream",
        "the segmenter was behind: 2500 ms at p99",
    ]


def test_summary_has_the_figures_that_others_compare() -> None:
    found = summary([[run(50, 300), run(500, 360, p99=99.0), run(300, 320, p99=24.0)]])
    assert found["cost_500_over_50"] == 1.2
    assert (found["reference_streams"], found["ack_p50_ms"], found["ack_p99_ms"]) == (300, 6.0, 24.0)
    assert found["vad_streams_per_core"] == 1e6 / 80
    assert [level["sum_us"] for level in found["levels"]] == [300, 320, 360]
