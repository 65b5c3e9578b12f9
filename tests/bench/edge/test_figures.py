from __future__ import annotations

from pathlib import Path

import pytest

from bench.edge.figures import (
    COMPARED,
    CONTENDERS,
    Contender,
    Trial,
    ack_ms,
    busy,
    order,
    ratio,
    streams_per_core,
    summary,
    table,
    vad_streams_per_core,
)
from bench.edge.plot import plot


def trial(contender: Contender, edge: float, acks: tuple[float, ...] = (0.001,), **other: object) -> Trial:
    given: dict[str, object] = {
        "nats": 20.0,
        "vad": 30.0 if contender == "system" else None,
        "frames": 1_000,
        "late_ms": 1.0,
        "neighbours": 0.1,
        "doubts": (),
    }
    return Trial(contender=contender, edge=edge, acks=acks, **{**given, **other})  # type: ignore[arg-type]


ROUNDS = [
    *(trial("naive", edge) for edge in (80.0, 100.0, 60.0)),
    *(trial("ours", edge, (0.001, 0.002, 0.004)) for edge in (8.0, 20.0, 9.0)),
    *(trial("system", edge, (0.003,), nats=25.0) for edge in (10.0, 22.0, 11.0)),
]


def test_each_of_the_compared_is_first_in_turn_and_the_system_behind_them() -> None:
    rounds = [order(number) for number in range(2)]
    assert [set(one) for one in rounds] == [set(CONTENDERS)] * 2
    assert [{one[place] for one in rounds} for place in range(2)] == [set(COMPARED)] * 2
    assert {one[-1] for one in rounds} == {"system"}


def test_a_burst_in_one_span_does_not_move_what_a_group_kept_busy() -> None:
    readings = [
        (10.0, {"edge": 1.0, "nats": 5.0}),
        (12.0, {"edge": 2.0, "nats": 5.5}),  # 0.5 and 0.25 cores
        (13.0, {"edge": 2.9, "nats": 5.7}),  # 0.9 and 0.2
        (15.0, {"edge": 3.8, "nats": 6.7}),  # 0.45 and 0.5
    ]
    assert busy(readings) == pytest.approx({"edge": 0.5, "nats": 0.25})
    assert busy(readings[:2]) == pytest.approx({"edge": 0.5, "nats": 0.25})


def test_ratios_are_taken_round_by_round() -> None:
    assert ratio(ROUNDS, "ours") == 0.15  # of 0.1, 0.2 and 0.15; that of the medians is another
    assert ratio(ROUNDS, "naive") == 1.0


def test_streams_of_a_core() -> None:
    assert streams_per_core(ROUNDS, "ours") == pytest.approx(1e6 / 9 / 33.3333, rel=1e-4)
    assert vad_streams_per_core(ROUNDS) == pytest.approx(1_000)


def test_acks_of_all_rounds_are_one_spread() -> None:
    assert ack_ms(ROUNDS, "ours", 50) == 2.0
    assert ack_ms(ROUNDS, "ours", 99) == 4.0


def test_the_last_line_has_all_figures() -> None:
    assert summary(ROUNDS) == {
        "ratio": 0.15,
        "streams_per_core": 3333,
        "ack_p50_ms": 2.0,
        "ack_p99_ms": 4.0,
        "edge_us": 9.0,
        "nats_us": 20.0,
        "streams_per_core_naive": 375,
        "ack_p50_ms_naive": 1.0,
        "ack_p99_ms_naive": 1.0,
        "edge_us_naive": 80.0,
        "nats_us_naive": 20.0,
        "streams_per_core_system": 2727,
        "ack_p50_ms_system": 3.0,
        "ack_p99_ms_system": 3.0,
        "edge_us_system": 11.0,
        "nats_us_system": 25.0,
        "vad_us": 30.0,
        "vad_streams_per_core": 1000,
        "frames": 9_000,
        "client_late_p99_ms": 1.0,
        "other_programs_cores": 0.1,
        "doubts": [],
    }


def test_the_worst_neighbour_and_the_latest_client_are_told() -> None:
    spoilt = [*ROUNDS[:5], trial("ours", 9.0, late_ms=31.0, neighbours=1.234, doubts=("late", "lost")), *ROUNDS[6:]]
    found = summary(spoilt)
    assert found["client_late_p99_ms"] == 31.0
    assert found["other_programs_cores"] == 1.23
    assert found["doubts"] == ["ours: late", "ours: lost"]


def test_the_table_has_a_line_for_each() -> None:
    head, naive, ours, system = table(ROUNDS).splitlines()
    assert head.split()[:3] == ["edge", "(least-most)", "nats"]
    assert naive.split()[-9:] == ["80.0", "(60.0-100.0)", "20.0", "-", "100.0", "375", "1.00", "1.0", "1.0"]
    assert ours.split()[-9:] == ["9.0", "(8.0-20.0)", "20.0", "-", "29.0", "3333", "0.15", "2.0", "4.0"]
    assert system.startswith("ours, and a segmenter ")
    assert system.split()[-9:] == ["11.0", "(10.0-22.0)", "25.0", "30.0", "66.0", "2727", "-", "3.0", "3.0"]
    assert len({len(line) for line in (head, naive, ours, system)}) == 1


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    plot(ROUNDS, "a title", tmp_path / "new" / "edge.png")
    assert (tmp_path / "new" / "edge.png").read_bytes().startswith(b"\x89PNG")
