from __future__ import annotations

from dataclasses import replace

import pytest

from bench.latency.figures import Final, Measured, finals, spreads, summary
from bench.timeline import Endpointing, Timeline
from bench.trace import Meeting, MeetingFailed
from contract import Utterance

WAYS = [
    Timeline(spoken=0.0, decided=0.6, heard=0.601, cut=0.602, written=0.704, told=0.706, inference=0.1),
    Timeline(spoken=9.0, decided=9.6, heard=9.601, cut=9.602, written=9.706, told=9.708, inference=0.1),
]
OTHERS = [Final(spoken=0.0, decided=0.6, told=0.68), Final(spoken=9.0, decided=9.6, told=9.7)]
MEASURED = Measured(WAYS, OTHERS, [0.05, 0.055])

FRAME = 480
SAID = Utterance(job="job", index=0, start=FRAME, end=50 * FRAME)
"""Its speech ends with frame 40, 300 ms before; 600 ms of silence end with frame 60."""
MEETING = Meeting("job", 100 * FRAME, [float(n) for n in range(100)], told={0: 59.5}, ends={0: 50 * FRAME})


def test_summary_has_the_figures_that_others_compare() -> None:
    found = summary(spreads(MEASURED), len(WAYS))
    assert found["segments"] == 2
    assert (found["overhead_p50_ms"], found["overhead_p99_ms"]) == (7.0, 8.0)
    assert found["inference_alone_p50_ms"] == 52.5
    assert (found["inprocess_decision_to_final_p50_ms"], found["inprocess_speech_end_to_final_p50_ms"]) == (90.0, 690.0)
    assert found["ratio_to_inprocess"] == round(107 / 90, 2)
    assert found["ratio_to_inference_alone"] == round(107 / 52.5, 2)


def test_a_final_of_another_server_is_measured_from_the_same_frames() -> None:
    assert finals(MEETING, [SAID], Endpointing()) == [Final(spoken=39.0, decided=59.0, told=59.5)]


@pytest.mark.parametrize(
    ("ends", "where"), [({}, "is missing"), ({1: 50 * FRAME}, "is missing"), ({0: 51 * FRAME}, "ends at 1.530 s")]
)
def test_sound_that_was_cut_otherwise_is_not_compared(ends: dict[int, int], where: str) -> None:
    with pytest.raises(MeetingFailed, match=rf"segment 0 {where} at inprocess and ends at 1\.500 s at ours"):
        finals(replace(MEETING, ends=ends), [SAID], Endpointing())
