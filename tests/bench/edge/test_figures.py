from __future__ import annotations

import pytest

from bench.edge.figures import (
    Contender,
    Trial,
    busy,
    ratio,
    summary,
)


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
