from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.speech import Arrival, load_sentences
from bench.stt.contenders import Kind, Way
from bench.stt.worker import Lane
from tools.system import MODEL, ROOT

pytestmark = pytest.mark.slow

KINDS: tuple[Kind, ...] = ("ours", "one_at_a_time", "batched_pipeline", "sliding_window")
SENTENCES = load_sentences(ROOT / "samples")[:6]


def way(kind: Kind, **settings: int) -> Way:
    return Way(kind, str(MODEL), "cpu", "int8", **settings)


@pytest.fixture(scope="module", params=KINDS)
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    with Lane(way(request.param), SENTENCES) as lane:
        yield lane


def at(*moments: float) -> list[Arrival]:
    return [Arrival(moment, stream, stream) for stream, moment in enumerate(moments)]


def test_each_contender_gives_each_utterance_its_own_text(lane: Lane) -> None:
    trial = lane.live(at(0, 0, 0, 0), 0, patience=60)
    assert [answer.sentence for answer in trial.answers] == [0, 1, 2, 3]
    assert trial.word_error_rate(SENTENCES) <= 0.1
    assert sum(trial.batches) == 4
    assert trial.cpu > 0
    assert all(0 < answer.latency <= trial.seconds for answer in trial.answers)


def test_what_has_no_text_in_time_is_given_up_and_leaves_nothing_behind(lane: Lane) -> None:
    trial = lane.live([Arrival(0, 0, 0)] * 40, 0, patience=0.001)
    assert trial.given_up > 30
    assert trial.latency(95).exact is False
    assert sum(trial.batches) < 40
    after = lane.live(at(0), 0, patience=60)
    assert (after.given_up, after.batches) == (0, [1])


def test_streams_are_dealt_to_the_processes() -> None:
    with Lane(way("ours", processes=2, workers=1, threads=1), SENTENCES) as lane:
        trial = lane.live(at(0, 0, 0, 0), 0, patience=60)
    assert [answer.sentence for answer in trial.answers] == [0, 2, 1, 3]
    assert trial.word_error_rate(SENTENCES) <= 0.1
