"""The segmenter with its real detector, on real sound."""

import json
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.decode import decode
from contract import RATE
from processors.vad.core import Parameters, Segment, Segmenter
from processors.vad.hearing import FRAME, WARM_UP
from processors.vad.webrtc import detector
from tests.processors.vad.tape import Stretch, assert_anyone_can_take_over, play

SAMPLES = Path(__file__).parents[3] / "samples"
SPOKEN = ["korean", "meeting", "monologue", "noisy", "quiet", "standup"]

new_detector = partial(detector, 2)


@cache
def sample(name: str) -> bytes:
    return b"".join(decode(SAMPLES / f"{name}.flac"))


def sentences(name: str) -> list[tuple[int, int]]:
    said = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))["sentences"]
    return [(one["start"], one["end"]) for one in said]


def segment(pcm: bytes, *chunks: int) -> list[Segment]:
    return play(Segmenter(new_detector, Parameters()), [Stretch(0, pcm)], chunks or (FRAME,))


def noise(loudness: float, seconds: float = 5) -> bytes:
    return np.random.default_rng(1).normal(0, loudness, int(RATE * seconds)).round().astype("<i2").tobytes()


@pytest.mark.parametrize("name", SPOKEN)
def test_anyone_can_take_over_after_any_segment(name: str) -> None:
    assert assert_anyone_can_take_over(new_detector, Parameters(), [Stretch(0, sample(name))])


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 80 * RATE), st.integers(1, 3 * RATE), st.sampled_from([0.0, 0.1, 1.0])), max_size=12
    ),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 20 * RATE), st.just(0) | st.integers(0, RATE)), max_size=12),
)
def test_anyone_can_take_over_in_any_mixture(
    pieces: list[tuple[int, int, float]], aggressiveness: int, cuts: list[tuple[int, int]]
) -> None:
    speech = np.frombuffer(sample("meeting"), "<i2")
    cut = [speech[start : start + length] * volume for start, length, volume in pieces]
    tape = [Stretch(0, np.concatenate([np.empty(0), *cut]).astype("<i2").tobytes())]
    marks = [(place, max(0, place - delay)) for place, delay in sorted(cuts)]
    assert_anyone_can_take_over(partial(detector, aggressiveness), Parameters(max_ms=5_000), tape, marks)


@pytest.mark.parametrize("name", sorted({*SPOKEN} - {"monologue"}))
def test_each_sentence_between_pauses_is_one_segment(name: str) -> None:
    said, found = sentences(name), segment(sample(name))
    assert len(found) == len(said)
    for (start, end), one in zip(said, found, strict=True):
        assert one.start <= start < end <= one.end


def test_speech_without_a_pause_is_cut_between_sentences_and_nothing_is_lost() -> None:
    said, found = sentences("monologue"), segment(sample("monologue"))
    assert [one.continues for one in found] == [True] * (len(found) - 1) + [False]
    assert len(found) > 1
    assert all(earlier.end == later.start for earlier, later in pairwise(found))
    assert b"".join(one.pcm for one in found) == sample("monologue")[found[0].start * 2 : found[-1].end * 2]
    for one in found:
        assert one.end - one.start <= 28 * RATE
    for start, end in said:
        assert any(one.start <= start < end <= one.end for one in found)


@pytest.mark.parametrize("milliseconds", [10, 20, 100, 60_000])
def test_the_same_recording_in_other_chunks_gives_the_same_segments(milliseconds: int) -> None:
    assert segment(sample("standup"), milliseconds * RATE // 1000) == segment(sample("standup"))


@pytest.mark.parametrize("name", ["noise", "silence"])
def test_a_recording_without_speech_has_no_segments(name: str) -> None:
    assert segment(sample(name)) == []


@pytest.mark.parametrize("loudness", [1, 5, 20, 100, 300])
def test_faint_noise_is_not_taken_for_speech_where_hearing_starts(loudness: float) -> None:
    assert segment(noise(loudness)) == []


def test_what_the_detector_says_depends_on_what_it_heard() -> None:
    detect, frame = new_detector(), noise(100)[: 2 * FRAME]
    assert detect(frame)
    for _ in range(WARM_UP):
        answer = detect(frame)
    assert not answer


@pytest.mark.parametrize("aggressiveness", [-1, 4])
def test_an_unknown_aggressiveness_is_refused(aggressiveness: int) -> None:
    with pytest.raises(ValueError, match=f"aggressiveness is {aggressiveness}: 0, 1, 2 and 3 are accepted"):
        detector(aggressiveness)
