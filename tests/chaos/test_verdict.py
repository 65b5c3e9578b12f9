from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from chaos.evidence import Ack, Evidence, Piece, Segment, Told
from chaos.faults import Fault
from chaos.verdict import COUNTS, Verdict, judge, of_faults, of_verdicts, totals

SENT = bytes(index % 251 for index in range(64_000))
SPEECH = [Segment(0, 480, 9_600), Segment(1, 12_000, 20_000), Segment(2, 22_000, 31_000)]
TEXTS = ["one", "two", "three"]
CALM = [replace(segment, text=text) for segment, text in zip(SPEECH, TEXTS, strict=True)]


def evidence(**changes: Any) -> Evidence:
    """A meeting with which all is well, but for the changes."""
    well: dict[str, Any] = {
        "name": "1.1",
        "job": "j",
        "sent": SENT,
        "told": told(),
        "pcm": SENT,
        "pieces": [Piece(0, 16_000, 1), Piece(16_000, 32_000, 2)],
        "stored_at": {1: 10.0, 2: 11.0},
        "speech": SPEECH,
        "counts": [(3, 32_000)],
        "transcripts": CALM,
        "corrected": [],
        "kinds": {"opened": 1, "closed": 1, "segmented": 1, "transcript": 3, "summary": 1, "completed": 1, "dead": 7},
        "closed": 32_000,
        "record": CALM,
        "generation": 1,
        "state": "completed",
    }
    return Evidence(**well | changes)


def told(**changes: Any) -> Told:
    acks = [Ack(10.5, 15_000), Ack(11.5, 32_000)]
    return Told(**{"acks": acks, "segments": dict(enumerate(TEXTS)), "finished": "socket"} | changes)


def counts(found: Evidence, calm: list[Segment] | None = CALM) -> dict[str, int]:
    """The counts that are not 0; each must have been explained."""
    verdict = judge(found, calm)
    wrong = {name: getattr(verdict, name) for name in COUNTS if getattr(verdict, name)}
    assert bool(verdict.problems) == bool(wrong)
    return wrong


def test_all_is_well() -> None:
    assert counts(evidence()) == {}
    assert counts(evidence(), calm=None) == {}
    assert counts(evidence(transcripts=CALM[::-1])) == {}, "transcripts may be stored in any order"


def test_acked_sound_that_is_gone_is_counted_in_samples() -> None:
    missing = {"pcm": SENT[:-2_000], "pieces": [Piece(0, 16_000, 1), Piece(16_000, 31_000, 2)]}
    assert counts(evidence(**missing)) == {"acked_samples_lost": 1_000, "other": 1}


def test_acked_sound_that_was_changed_is_counted_in_samples() -> None:
    assert counts(evidence(pcm=b"\xff" * 6 + SENT[6:])) == {"acked_samples_lost": 3}


def test_sound_that_nobody_acked_is_missed_too() -> None:
    acked = told(acks=[Ack(10.5, 15_000)], finished="rest")
    assert counts(evidence(told=acked, pcm=SENT[:40_000], pieces=[Piece(0, 20_000, 1)])) == {"other": 1}
    assert counts(evidence(told=acked, pcm=SENT[:-4] + b"\xff" * 4)) == {"other": 2}


def test_an_ack_before_its_sound_was_stored_is_a_loss() -> None:
    verdict = judge(evidence(stored_at={1: 10.6, 2: 11.0}), CALM)
    assert verdict.acked_samples_lost == 15_000
    assert verdict.problems == ["acked up to 0.938 s (sample 15000), but that was stored 0.100 s later"]


def test_a_socket_that_ends_before_the_last_ack_is_reported() -> None:
    assert counts(evidence(told=told(acks=[Ack(10.5, 15_000)]))) == {"other": 1}


def test_a_job_closed_too_early_is_reported() -> None:
    assert counts(evidence(closed=31_000)) == {"other": 1}


@pytest.mark.parametrize("what", ["speech", "transcripts"])
def test_missing_and_doubled_segments_are_counted(what: str) -> None:
    whole = SPEECH if what == "speech" else CALM
    record = {} if what == "speech" else {"record": sorted([whole[0], whole[2]])}
    untold = {"told": told(segments={0: "one", 2: "three"})}
    assert counts(evidence(**{what: [whole[0], whole[2]]}, **record, **untold)) == {"segments_missing": 1} | (
        {"segments_missing": 2} if what == "speech" else {}
    )
    record = {} if what == "speech" else {"record": sorted([*whole, whole[1]])}
    found = counts(evidence(**{what: [whole[0], whole[1], whole[1], whole[2]]}, **record))
    assert found == {"segments_doubled": 1} | ({"other": 1} if what == "speech" else {})


def test_a_segment_too_many_is_counted() -> None:
    extra = Segment(3, 31_000, 32_000, "four")
    found = evidence(
        speech=[*SPEECH, extra],
        transcripts=[*CALM, extra],
        record=[*CALM, extra],
        counts=[(4, 32_000)],
        told=told(segments=dict(enumerate([*TEXTS, "four"]))),
    )
    assert counts(found) == {"segments_doubled": 2, "other": 1}
    assert counts(found, calm=None) == {}


def test_the_count_of_segments_comes_once() -> None:
    assert counts(evidence(counts=[(3, 32_000)] * 2)) == {"segments_doubled": 1}
    assert counts(evidence(counts=[])) == {"other": 1}
    assert counts(evidence(counts=[(2, 32_000)])) == {"other": 1}


def test_another_text_and_moved_edges_differ() -> None:
    other = [replace(CALM[0], text="won"), *CALM[1:]]
    assert counts(evidence(), calm=other) == {"text_differs": 1}
    near = [replace(CALM[0], start=0), *CALM[1:]]
    assert counts(evidence(), calm=near) == {}
    far = [*CALM[:2], replace(CALM[2], end=31_481)]
    assert counts(evidence(), calm=far) == {"text_differs": 1}


def test_what_the_client_was_told_is_what_is_stored() -> None:
    assert counts(evidence(told=told(segments={0: "one", 1: "to", 2: "three"}))) == {"text_differs": 1}
    assert counts(evidence(told=told(segments={0: "one"}))) == {"segments_missing": 2}
    assert counts(evidence(told=told(segments={0: "one"}, finished="rest"))) == {}
    assert counts(evidence(told=told(problems=["was told two texts for segment 1"]))) == {"other": 1}


@pytest.mark.parametrize("kind", ["opened", "closed", "segmented", "summary", "completed"])
@pytest.mark.parametrize("times", [0, 2])
def test_what_comes_once_comes_exactly_once(kind: str, times: int) -> None:
    assert counts(evidence(kinds=evidence().kinds | {kind: times})) == {"other": 1}  # type: ignore[operator]


def test_a_meeting_without_an_end_is_unfinished() -> None:
    assert counts(evidence(state="summarizing")) == {"unfinished": 1}
    assert counts(evidence(told=told(finished=""))) == {"unfinished": 1}
    assert counts(evidence(record=CALM[:2])) == {"other": 1}


def test_a_corrected_meeting_has_its_corrected_segments() -> None:
    better = [replace(segment, text=segment.text.upper()) for segment in CALM]
    assert counts(evidence(corrected=better[:2])) == {}
    assert counts(evidence(corrected=better, record=better, generation=2)) == {}
    assert counts(evidence(corrected=better, record=CALM, generation=2)) == {"other": 1}
    assert counts(evidence(corrected=[*better[:2], better[1]])) == {"segments_doubled": 1}


def test_a_verdict_says_how_large_the_meeting_was() -> None:
    verdict = judge(evidence(told=told(closes=Counter({1006: 2, 1000: 1}))), CALM)
    assert (verdict.samples, verdict.segments, verdict.connections) == (32_000, 3, 3)


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
