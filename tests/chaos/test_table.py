from __future__ import annotations

from chaos.faults import Fault
from chaos.table import of_faults, of_verdicts, totals
from chaos.verdict import Verdict


def test_faults_are_counted_by_kind_and_process() -> None:
    done = [
        Fault(1, "kill", "edge-1"),
        Fault(2, "kill", "edge-2"),
        Fault(3, "stop", "nats-server", 6),
        Fault(4, "poison", "audio.{job}"),
        Fault(5, "abort", "client"),
    ]
    assert of_faults(done).splitlines() == [
        "faults       abort  kill  poison  stop  all",
        "AUDIO                          1          1",
        "client           1                        1",
        "edge                   2                  2",
        "nats-server                          1    1",
    ]


def test_whatever_was_wrong_is_said_below_the_table() -> None:
    good, bad = Verdict("1.1", "a", samples=16_000, segments=3), Verdict("2.1", "b")
    bad.note("segments_missing", 2, "speech misses [1, 2]")
    bad.note("other", 0, "no news")
    lines = of_verdicts([good, bad]).splitlines()
    assert lines[0].split()[0] == "meeting"
    assert lines[1].split() == ["1.1", "16000", "3", *"-------"]
    assert lines[-2:] == ["", "2.1 (job b): speech misses [1, 2]"]
    assert of_verdicts([good]).splitlines()[-1].startswith("1.1")


def test_totals_are_sums() -> None:
    one, two = Verdict("1", "a", text_differs=1), Verdict("2", "b", text_differs=2, unfinished=1)
    assert totals([one, two]) == {
        "acked_samples_lost": 0,
        "segments_missing": 0,
        "segments_doubled": 0,
        "unfinished": 1,
        "text_differs": 3,
        "other": 0,
    }
