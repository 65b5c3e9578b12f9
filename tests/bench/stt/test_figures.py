from __future__ import annotations

import pytest

from bench.speech import Sentence
from bench.stt.figures import Answer, Latency, Trial, merge, most_held, percentile
from contract import RATE, WIDTH

SENTENCES = [Sentence("I agree.", "en", bytes(RATE * WIDTH)), Sentence("Hello.", "en", bytes(3 * RATE * WIDTH))]


def trial(*latencies: float | None, waited: float = 5.0) -> Trial:
    answers = [Answer(0, waited if x is None else x, None if x is None else "I agree.") for x in latencies]
    return Trial(answers, seconds=10.0, cpu=4.0, batches=[1, 3])


@pytest.mark.parametrize(("q", "expected"), [(0, 1), (50, 2), (51, 3), (75, 3), (95, 4), (100, 4)])
def test_percentiles_are_by_nearest_rank(q: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], q) == expected


def test_a_latency_that_what_was_given_up_decides_is_a_lower_bound() -> None:
    assert trial(0.1, 0.2, None, None).latency(95) == Latency(5.0, exact=False)
    assert trial(9.0, None, None, None).latency(100) == Latency(9.0, exact=False)  # another may have taken longer


def test_throughput_counts_the_sound_that_became_text() -> None:
    answers = [Answer(0, 0.1, "I agree."), Answer(1, 0.1, "Hello."), Answer(1, 5.0, None)]
    trial = Trial(answers, seconds=2.0, cpu=0.5, batches=[])
    assert (trial.throughput(SENTENCES), trial.per_core(SENTENCES)) == (2.0, 8.0)


def test_errors_are_counted_over_what_has_a_text() -> None:
    answers = [Answer(0, 0.1, "I do"), Answer(1, 5.0, None)]
    assert Trial(answers, seconds=2.0, cpu=0, batches=[]).word_error_rate(SENTENCES) == 0.5


def test_processes_that_ran_together_are_one_trial() -> None:
    both = merge([trial(0.1), trial(0.2, None)])
    assert [answer.latency for answer in both.answers] == [0.1, 0.2, 5.0]
    assert (both.seconds, both.cpu, both.batch, both.given_up) == (10.0, 8.0, 2.0, 1)


class Asked:
    """Says which numbers of streams are held, and remembers what it was asked."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.streams: list[int] = []

    def __call__(self, streams: int) -> bool:
        self.streams.append(streams)
        return streams <= self.limit


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 8, 27, 100, 700])
def test_the_search_ends_within_an_eighth_below_the_limit(limit: int) -> None:
    found = most_held(Asked(limit), {}, most=1_000)
    assert limit * 8 / 9 - 1 < found <= limit


def test_the_search_begins_with_what_is_known() -> None:
    asked = Asked(20)
    assert most_held(asked, {1: True, 16: True, 32: False}, most=1_000) == 20
    assert asked.streams == [24, 20, 22]
