from __future__ import annotations

from pathlib import Path

import pytest

from bench.edge_figures import CONTENDERS, Contender, Trial, ack_ms, order, ratio, streams_per_core, summary, table
from bench.edge_plot import plot


def trial(contender: Contender, edge: float, acks: tuple[float, ...] = (0.001,), **other: object) -> Trial:
    given: dict[str, object] = {
        "nats": 20.0,
        "vad": None if contender == "naive" else 30.0,
        "frames": 1_000,
        "late_ms": 1.0,
        "neighbours": 0.1,
        "doubts": (),
    }
    return Trial(contender=contender, edge=edge, acks=acks, **{**given, **other})  # type: ignore[arg-type]


ROUNDS = [
    *(trial("naive", edge) for edge in (80.0, 100.0, 60.0)),
    *(trial("starlette", edge) for edge in (40.0, 40.0, 40.0)),
    *(trial("picows", edge, (0.001, 0.002, 0.004)) for edge in (8.0, 20.0, 9.0)),
]


def test_each_contender_is_at_each_place_in_turn() -> None:
    rounds = [order(number) for number in range(3)]
    assert [set(one) for one in rounds] == [set(CONTENDERS)] * 3
    assert [{one[place] for one in rounds} for place in range(3)] == [set(CONTENDERS)] * 3


def test_ratios_are_taken_round_by_round() -> None:
    assert ratio(ROUNDS, "picows") == 0.15  # of 0.1, 0.2 and 0.15; that of the medians is another
    assert ratio(ROUNDS, "starlette") == 0.5
    assert ratio(ROUNDS, "naive") == 1.0


def test_streams_of_a_core() -> None:
    assert streams_per_core(ROUNDS, "picows") == pytest.approx(1e6 / 9 / 33.3333, rel=1e-4)


def test_acks_of_all_rounds_are_one_spread() -> None:
    assert ack_ms(ROUNDS, "picows", 50) == 2.0
    assert ack_ms(ROUNDS, "picows", 99) == 4.0


def test_the_last_line_has_all_figures() -> None:
    assert summary(ROUNDS) == {
        "ratio_picows": 0.15,
        "ratio_starlette": 0.5,
        "streams_per_core": 3333,
        "ack_p50_ms": 2.0,
        "ack_p99_ms": 4.0,
        "edge_us": 9.0,
        "nats_us": 20.0,
        "vad_us": 30.0,
        "streams_per_core_starlette": 750,
        "ack_p50_ms_starlette": 1.0,
        "ack_p99_ms_starlette": 1.0,
        "edge_us_starlette": 40.0,
        "nats_us_starlette": 20.0,
        "vad_us_starlette": 30.0,
        "streams_per_core_naive": 375,
        "ack_p50_ms_naive": 1.0,
        "ack_p99_ms_naive": 1.0,
        "edge_us_naive": 80.0,
        "nats_us_naive": 20.0,
        "frames": 9_000,
        "client_late_p99_ms": 1.0,
        "other_programs_cores": 0.1,
        "doubts": [],
    }


def test_the_worst_neighbour_and_the_latest_client_are_told() -> None:
    spoilt = [*ROUNDS[:-1], trial("picows", 9.0, late_ms=31.0, neighbours=1.234, doubts=("late", "lost"))]
    found = summary(spoilt)
    assert found["client_late_p99_ms"] == 31.0
    assert found["other_programs_cores"] == 1.23
    assert found["doubts"] == ["ours, picows listener: late", "ours, picows listener: lost"]


def test_the_table_has_a_line_for_each() -> None:
    head, naive, starlette, picows = table(ROUNDS).splitlines()
    assert head.split()[:3] == ["edge", "(least-most)", "nats"]
    assert naive.split()[-9:] == ["80.0", "(60.0-100.0)", "20.0", "-", "100.0", "375", "1.00", "1.0", "1.0"]
    assert starlette.split()[-9:] == ["40.0", "(40.0-40.0)", "20.0", "30.0", "90.0", "750", "0.50", "1.0", "1.0"]
    assert picows.split()[-9:] == ["9.0", "(8.0-20.0)", "20.0", "30.0", "59.0", "3333", "0.15", "2.0", "4.0"]
    assert len({len(line) for line in (head, naive, starlette, picows)}) == 1


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    plot(ROUNDS, "a title", tmp_path / "new" / "edge.png")
    assert (tmp_path / "new" / "edge.png").read_bytes().startswith(b"\x89PNG")
