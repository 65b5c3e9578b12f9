from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from audio import decode
from bench.timeline import FIGURES, STAGES, Endpointing, Timeline, percentiles
from contract import WIDTH, Utterance
from processors.vad.core import FRAME, Parameters, Segmenter
from processors.vad.settings import webrtc_detector
from tools.system import ROOT

WAY = Timeline(spoken=10.0, decided=10.6, heard=10.601, cut=10.603, written=10.713, told=10.715, inference=0.1)


def utterance(end: int, *, start: int = 0, continues: bool = False, last: bool = False) -> Utterance:
    return Utterance(job="job", index=0, start=start, end=end, continues=continues, last=last)


@pytest.mark.parametrize(
    ("found", "samples", "expected"),
    [
        (utterance(20_000), 24_800, True),
        (utterance(20_000), 24_799, False),  # the sound ended before the hangover did
        (utterance(20_000, continues=True), 90_000, False),
        (utterance(20_000, last=True), 90_000, False),
    ],
)
def test_only_what_hangover_ended_is_measured(found: Utterance, samples: int, expected: bool) -> None:
    assert Endpointing().applies(found, samples) is expected


@pytest.mark.parametrize(("padding_ms", "hangover_ms"), [(0, 450), (300, 600)])
def test_the_segmenter_decides_with_the_very_frame_that_is_said_to_decide(padding_ms: int, hangover_ms: int) -> None:
    endpointing = Endpointing(padding_ms=padding_ms, hangover_ms=hangover_ms)
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters(padding_ms=padding_ms, hangover_ms=hangover_ms))
    pcm = b"".join(decode(ROOT / "samples" / "standup.flac"))
    decided = []
    for at in range(0, len(pcm), FRAME * WIDTH):
        found = segmenter.feed(pcm[at : at + FRAME * WIDTH])
        decided += [(utterance(segment.end), segmenter.position) for segment in found]
    assert len(decided) >= 10
    assert [endpointing.decision(ended) for ended, _ in decided] == [heard for _, heard in decided]
    assert all(endpointing.applies(ended, len(pcm) // WIDTH) for ended, _ in decided)


def test_the_stages_are_all_of_the_overhead() -> None:
    assert sum(part(WAY) for part in STAGES.values()) == pytest.approx(FIGURES["overhead"](WAY))


def test_a_decision_before_its_sound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stored 6\.0 ms before the sound that should have decided it"):
        replace(WAY, cut=10.595)


def test_percentiles_are_in_milliseconds() -> None:
    seconds = [n / 1_000 for n in range(101)]
    assert percentiles(seconds) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
    assert percentiles([0.012_34]) == {"p50": 12.3, "p90": 12.3, "p99": 12.3, "max": 12.3}
