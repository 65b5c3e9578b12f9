from __future__ import annotations

import pytest

from bench.latency.people import Measured, Told, first_partial, segment_of, split, summary
from bench.speech import Said
from bench.trace import Meeting
from contract import RATE, Transcript, Utterance

FRAME = 480
SAID = Said(start=RATE, end=3 * RATE, sentence=0)


def utterance(start: float, end: float, index: int = 0) -> Utterance:
    return Utterance(job="job", index=index, start=round(start * RATE), end=round(end * RATE))


def meeting(*partials: tuple[float, float]) -> Meeting:
    """Each frame is handed over at its end; partials: when, and where their segment starts, in seconds."""
    handed = [(number + 1) * 0.03 for number in range(300)]
    return Meeting("job", 300 * FRAME, handed, {}, {}, [(at, round(start * RATE)) for at, start in partials])


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([utterance(0.7, 3.3)], 0),
        ([utterance(0.7, 1.9), utterance(1.9, 3.3, 1)], 1),  # it was cut in two: the end counts
        ([utterance(0.7, 7.0)], 0),  # what follows was taken into the same segment: that is as late as it is
        ([utterance(0.7, 2.5), utterance(3.7, 6.0, 1)], None),  # its end is in none
        ([], None),
    ],
)
def test_the_segment_that_holds_the_end_of_speech_counts(segments: list[Utterance], expected: int | None) -> None:
    found = segment_of(SAID, dict(enumerate(segments, 7)))
    assert (found and found[1].index) == expected


def test_the_first_interim_text_is_that_of_a_segment_which_began_with_the_speech() -> None:
    assert first_partial(SAID, meeting((1.2, 0.01), (2.01, 0.7), (2.5, 0.7))) == pytest.approx(2.01 - 1.02)
    assert first_partial(SAID, meeting((1.2, 0.01), (4.5, 3.7))) is None


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ({}, {"hangover": 0.6, "queue": 0.3, "inference": 0.5, "rest": 0.1}),
        (
            {"queue": 0.1, "encode": 0.35, "detect": 0.01, "generate": 0.1, "align": 0.04},
            {"hangover": 0.6, "queue": 0.3, "encode": 0.35, "decode": 0.15, "rest": 0.1},
        ),
    ],
)
def test_the_parts_are_all_of_the_time_to_the_final(timing: dict[str, float], expected: dict[str, float]) -> None:
    transcript = Transcript(job="job", index=0, start=0, end=1, text="", elapsed=0.5, timing=timing)
    assert split(1.5, 0.6, 0.8, transcript) == pytest.approx(expected)


def test_what_was_decoded_ahead_is_part_of_the_hangover() -> None:
    transcript = Transcript(job="job", index=0, start=0, end=1, text="", elapsed=0.5)
    expected = {"hangover": 0.6, "queue": 0.0, "inference": 0.2, "rest": 0.1}
    assert split(0.9, 0.6, 0.2, transcript) == pytest.approx(expected)


def test_summary_has_the_figures_that_others_compare() -> None:
    parts = {"hangover": 0.6, "queue": 0.0, "encode": 0.3, "decode": 0.1, "rest": 0.0}
    told = [Told(1.0, 0.8, parts), Told(2.0, None, parts | {"queue": 1.0}), Told(1.0, 1.0, parts)]
    found = summary(Measured(1, told, missed=1, said=["I agree."], heard=["I agreed"]))
    assert (found["final_p50_ms"], found["final_p95_ms"], found["first_partial_p50_ms"]) == (1_000, 2_000, 900)
    assert (found["finals"], found["missed"], found["without_partial"], found["wer"]) == (3, 1, 1, 50.0)
    assert found["share"] == {"hangover": 0.45, "queue": 0.25, "encode": 0.225, "decode": 0.075, "rest": 0.0}
