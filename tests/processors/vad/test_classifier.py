"""Which frames are voiced: with the worst detector, whose answers depend on all its input, and with the real one."""

from __future__ import annotations

import json
import zlib
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio import decode
from contract import RATE
from processors.vad.core import (
    COLD_START,
    FRAME,
    SPAN,
    WARM_UP,
    FrameClassifier,
    Parameters,
    Segment,
    Segmenter,
    first_frame,
    warm_up_start,
)
from processors.vad.settings import webrtc_detector
from tests.processors.vad.generated import Stretch, assert_anyone_can_take_over, feed_all

SOUND = b"".join(zlib.crc32(b"%d" % at).to_bytes(4, "little") for at in range(3 * SPAN * FRAME // 2))
"""Three spans of noise."""

positions = st.integers(0, len(SOUND) // 2)


class Stateful:
    """Its answers depend on every sample so far, and on how often it was fed."""

    def __init__(self) -> None:
        self.state = 0

    def __call__(self, frame: bytes) -> bool:
        self.state = zlib.crc32(frame, self.state)
        return self.state % 2 == 0


def sound(start: int, end: int) -> bytes:
    return SOUND[2 * start : 2 * end]


def classified(origin: int, *until: int) -> dict[int, bool]:
    """Each frame's answer from a classifier that starts at `origin` and is fed in pieces."""
    classifier, answers = FrameClassifier(Stateful, origin), list[bool]()
    for begin, end in zip([origin, *until], until, strict=False):
        answers += classifier.feed(sound(begin, end))
    answers += classifier.finish()
    return dict(enumerate(answers, first_frame(origin)))


ANSWERS = classified(0, len(SOUND) // 2)


def test_each_whole_frame_is_classified() -> None:
    assert sorted(ANSWERS) == list(range(3 * SPAN))
    assert sum(ANSWERS.values()) == pytest.approx(len(ANSWERS) / 2, rel=0.1)


@settings(max_examples=60)
@given(positions, positions, positions)
def test_answers_are_the_same_wherever_a_classifier_starts(sample: int, earlier: int, end: int) -> None:
    origin = max(0, warm_up_start(sample) - earlier)
    end = min(len(SOUND) // 2, max(end, origin + (COLD_START + 1) * FRAME))
    expected = {frame: ANSWERS[frame] for frame in range(first_frame(sample), end // FRAME)}
    answers = classified(origin, end)
    assert {frame: answers[frame] for frame in expected} == expected


def test_a_classifier_that_starts_too_late_gives_other_answers() -> None:
    sample = (2 * SPAN + 30) * FRAME
    answers = classified(warm_up_start(sample) + FRAME, len(SOUND) // 2)
    assert any(answers[frame] != ANSWERS[frame] for frame in range(2 * SPAN + 30, 3 * SPAN))


def test_no_more_has_to_be_reread_than_a_span_and_its_warm_up() -> None:
    assert warm_up_start(0) == warm_up_start((SPAN - 1) * FRAME) == 0
    assert warm_up_start(SPAN * FRAME) == warm_up_start((2 * SPAN - 1) * FRAME) == (SPAN - WARM_UP) * FRAME


@settings(max_examples=30)
@given(positions, st.lists(st.integers(0, 5_000), max_size=30))
def test_the_size_of_chunks_changes_nothing(origin: int, chunks: list[int]) -> None:
    places = [min(len(SOUND) // 2, origin + sum(chunks[:count])) for count in range(1, len(chunks) + 1)]
    assert classified(origin, *places) == classified(origin, *places[-1:])


def test_the_first_frames_of_a_stretch_are_fed_to_the_detector_twice() -> None:
    origin = 10 * FRAME + 7
    classifier, frames = (
        FrameClassifier(Stateful, origin),
        [sound(at * FRAME, (at + 1) * FRAME) for at in range(11, 40)],
    )
    detect = Stateful()
    for frame in frames[:COLD_START]:
        detect(frame)
    assert classifier.feed(sound(origin, (11 + COLD_START) * FRAME - 1)) == []
    assert classifier.cold
    answers = classifier.feed(sound((11 + COLD_START) * FRAME - 1, 40 * FRAME))
    assert not classifier.cold
    assert answers == [detect(frame) for frame in frames]


def test_too_little_for_a_cold_start_is_classified_at_the_end() -> None:
    detect, frames = Stateful(), [sound(at * FRAME, (at + 1) * FRAME) for at in range(5)]
    for frame in frames:
        detect(frame)
    assert list(classified(0, 5 * FRAME + 100).values()) == [detect(frame) for frame in frames]
    assert classified(0, 100) == classified(7) == {}


def test_a_guess_changes_nothing() -> None:
    classifier = FrameClassifier(Stateful, 7)
    assert classifier.feed(sound(7, 6 * FRAME)) == []
    assert classifier.guess() == list(classified(7, 6 * FRAME).values())
    assert classifier.cold
    assert classifier.feed(sound(6 * FRAME, 50 * FRAME)) == list(classified(7, 50 * FRAME).values())


# ---- the segmenter with webrtcvad, on recordings

SAMPLES = Path(__file__).parents[3] / "samples"
SPOKEN = ["korean", "meeting", "monologue", "noisy", "quiet", "standup"]

new_detector = partial(webrtc_detector, 2)


@cache
def sample(name: str) -> bytes:
    return b"".join(decode(SAMPLES / f"{name}.flac"))


def sentences(name: str) -> list[tuple[int, int]]:
    said = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))["sentences"]
    return [(one["start"], one["end"]) for one in said]


def segments_of(pcm: bytes, *chunks: int) -> list[Segment]:
    return feed_all(Segmenter(new_detector, Parameters()), [Stretch(0, pcm)], chunks or (FRAME,))


def noise(loudness: float, seconds: float = 5) -> bytes:
    return np.random.default_rng(1).normal(0, loudness, int(RATE * seconds)).round().astype("<i2").tobytes()


@pytest.mark.parametrize("name", SPOKEN)
def test_anyone_can_take_over_after_any_segment(name: str) -> None:
    assert assert_anyone_can_take_over(new_detector, Parameters(), [Stretch(0, sample(name))])


@settings(max_examples=25)
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
    stretches = [Stretch(0, np.concatenate([np.empty(0), *cut]).astype("<i2").tobytes())]
    requests = [(place, max(0, place - delay)) for place, delay in sorted(cuts)]
    assert_anyone_can_take_over(partial(webrtc_detector, aggressiveness), Parameters(max_ms=5_000), stretches, requests)


@pytest.mark.parametrize("name", sorted({*SPOKEN} - {"monologue"}))
def test_each_sentence_between_pauses_is_one_segment(name: str) -> None:
    said, found = sentences(name), segments_of(sample(name))
    assert len(found) == len(said)
    for (start, end), one in zip(said, found, strict=True):
        assert one.start <= start < end <= one.end


def test_speech_without_a_pause_is_cut_between_sentences_and_nothing_is_lost() -> None:
    said, found = sentences("monologue"), segments_of(sample("monologue"))
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
    assert segments_of(sample("standup"), milliseconds * RATE // 1000) == segments_of(sample("standup"))


@pytest.mark.parametrize("name", ["noise", "silence"])
def test_a_recording_without_speech_has_no_segments(name: str) -> None:
    assert segments_of(sample(name)) == []


@pytest.mark.parametrize("loudness", [1, 5, 20, 100, 300])
def test_faint_noise_at_the_start_is_not_taken_for_speech(loudness: float) -> None:
    assert segments_of(noise(loudness)) == []


def test_the_answers_of_webrtcvad_depend_on_its_earlier_input() -> None:
    detect, frame = new_detector(), noise(100)[: 2 * FRAME]
    assert detect(frame)
    for _ in range(WARM_UP):
        answer = detect(frame)
    assert not answer


@pytest.mark.parametrize("aggressiveness", [-1, 4])
def test_an_unknown_aggressiveness_is_refused(aggressiveness: int) -> None:
    with pytest.raises(ValueError, match=f"aggressiveness is {aggressiveness}: 0, 1, 2 and 3 are accepted"):
        webrtc_detector(aggressiveness)
