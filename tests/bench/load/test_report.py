from __future__ import annotations

from collections import Counter

import pytest

from bench.load import Lateness, Meeting, Plan, Report, Told, Window
from bench.load.report import acks
from bench.recording import JobAcks, RecordedAcks
from contract import RATE


def meeting(**other: object) -> Meeting:
    given = {
        "stream": 0,
        "job": "a",
        "asked": 1.0,
        "began": 2.0,
        "over": 9.0,
        "samples": 1_440,
        "acked": 1_440,
        "frame_ms": 30,
        "close": 1000,
        "error": None,
        "told": [],
        "handed": [],
    }
    return Meeting(**{**given, **other})  # type: ignore[arg-type]


def window(late: Lateness) -> Window:
    return Window(10.0, 12.5, 100, 48_000, 47_000, 2, 0.25, late, 30)


def test_percentiles_of_lateness_count_frames() -> None:
    late = Lateness()
    late.add(0.001, 90)
    late.add(0.0202, 9)
    late.add(0.5, 1)
    late.add(-0.3, 0)
    assert [late.ms(q) for q in (50, 90, 99, 100)] == [1.0, 1.0, 20.2, 500.0]


def test_a_generator_that_falls_behind_says_so() -> None:
    late = Lateness(Counter({5: 98, 299: 2}))
    assert window(late).in_time
    assert window(late).excuse() == ""
    late.add(0.030, 2)
    assert not window(late).in_time
    assert window(late).excuse() == (
        "the clients themselves could not keep the pace: frames 30 ms late at p99, 30 at most"
    )
    assert window(late).to_json() == {
        "seconds": 2.5,
        "frames": 100,
        "late_p50_ms": 0.5,
        "late_p99_ms": 30.0,
        "late_max_ms": 30.0,
        "in_time": False,
        "client_cores": 0.25,
    }


def test_what_went_wrong_is_told_with_how_often() -> None:
    good = Report([meeting()])
    assert (good.samples, good.unacked, good.errors, good.excuse()) == (1_440, 0, {}, "")
    bad = Report(
        [meeting(error="gone"), meeting(error="gone"), meeting(error="full"), meeting(acked=1_440 - RATE // 100)]
    )
    assert bad.errors == {"gone": 2, "full": 1}
    assert bad.excuse() == "0.01 s of sound were never acked; 2 x gone; 1 x full"


def test_a_sample_was_handed_over_with_its_frame() -> None:
    one = meeting(handed=[0.0, 0.031, 0.06])
    assert [one.handed_with(samples) for samples in (1, 480, 481, 960, 961)] == [2.0, 2.0, 2.031, 2.031, 2.06]
    with pytest.raises(IndexError):
        meeting().handed_with(1)


def test_an_ack_is_timed_for_each_frame_that_it_covers() -> None:
    recorded = RecordedAcks(10.05, {"a": JobAcks([480, 959, 1_440], [10.06, 10.1, 10.2])})
    one = meeting(began=10.0, handed=[0.0, 0.06, 0.09, 0.9])
    # The first was handed over before recording began; the second waits for the ack of its last sample; the fourth
    # was never acked.
    assert acks(recorded, [one, meeting(job="b", handed=[0.1])], 10.0, 11.0) == pytest.approx([0.14, 0.11])


def test_a_plan_and_a_report_survive_their_lines() -> None:
    plan = Plan("http://a", 3, options={"partials": False, "vad": {"max_ms": 9}}, meeting=(1.0, 2.5), times=True)
    assert Plan.decode(plan.encode()) == plan
    report = Report([meeting(told=[Told(0, 480, 3.5, "안녕")], handed=[0.0, 0.03]), meeting(job="b", error="gone")])
    assert Report.decode(report.encode()) == report
    assert "\n" not in plan.encode() + report.encode()
