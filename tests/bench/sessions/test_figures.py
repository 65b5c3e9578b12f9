from __future__ import annotations

from bench.load import Lateness, Meeting, Report, Window
from bench.sessions.figures import Contender, Trial, summary, trial

WINDOW = Window(10.0, 20.0, 0, 0, 0, 0, 0.5, Lateness(), 30)


def meeting(asked: float, over: float, error: str | None = None) -> Meeting:
    return Meeting(0, "a", asked, asked, over, 16_000, 16_000, 30, 1000, error, [], [])


def made(contender: Contender, edge: float, **other: object) -> Trial:
    given: dict[str, object] = {"rate": 50.0, "seconds": (0.5, 1.0), "neighbours": 0.2, "doubts": ()}
    cpu = {"edge": edge} | ({"nats": 2.0, "redis": 0.5, "vad": 3.0} if contender == "ours" else {})
    return Trial(contender=contender, cpu=cpu, **{**given, **other})  # type: ignore[arg-type]


EDGES: dict[Contender, tuple[float, ...]] = {
    "naive": (4.0, 5.0),
    "inprocess": (2.0, 2.0),
    "ours": (4.0, 4.0),
}

ROUNDS = [made(contender, edge) for contender, edges in EDGES.items() for edge in edges]


def test_sessions_that_ended_well_in_the_window_count() -> None:
    report = Report(
        [meeting(8.0, 9.9), meeting(9.5, 10.0), meeting(11.0, 12.0, "gone"), meeting(18.0, 19.0), meeting(19.0, 20.0)]
    )
    found = trial("ours", WINDOW, report, {"edge": 0.5, "vad": 0.1}, 0.3)
    assert found.rate == 0.2
    assert found.cpu == {"edge": 250.0, "vad": 50.0}
    assert found.seconds == [0.5, 1.0]
    assert found.doubts == ["1 x gone"]


def test_the_last_line_has_all_figures() -> None:
    assert summary(ROUNDS) == {
        "sessions_per_s": 50.0,
        "edge_ms": 4.0,
        "nats_ms": 2.0,
        "redis_ms": 0.5,
        "vad_ms": 3.0,
        "session_p50_ms": 500.0,
        "session_p99_ms": 1_000.0,
        "ratio": 0.9,
        "sessions_per_s_inprocess": 50.0,
        "edge_ms_inprocess": 2.0,
        "session_p50_ms_inprocess": 500.0,
        "session_p99_ms_inprocess": 1_000.0,
        "ratio_inprocess": 0.45,
        "sessions_per_s_naive": 50.0,
        "edge_ms_naive": 4.5,
        "session_p50_ms_naive": 500.0,
        "session_p99_ms_naive": 1_000.0,
        "other_programs_cores": 0.2,
        "doubts": [],
    }
