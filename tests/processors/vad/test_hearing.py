"""Which frames are voiced: with a detector whose answers depend on all that it has heard, which is the worst case."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.vad.hearing import COLD_START, FRAME, SPAN, WARM_UP, Hearing, first_frame, listen_from

SOUND = b"".join(zlib.crc32(b"%d" % at).to_bytes(4, "little") for at in range(3 * SPAN * FRAME // 2))
"""Three spans of noise."""

positions = st.integers(0, len(SOUND) // 2)


class Moody:
    """What it says depends on every sample that it ever heard, and on whether it heard it twice."""

    def __init__(self) -> None:
        self.mood = 0

    def __call__(self, frame: bytes) -> bool:
        self.mood = zlib.crc32(frame, self.mood)
        return self.mood % 2 == 0


def sound(start: int, end: int) -> bytes:
    return SOUND[2 * start : 2 * end]


def heard(origin: int, *until: int) -> dict[int, bool]:
    """What is said of each frame by who begins to listen at `origin` and is given sound in pieces."""
    hearing, said = Hearing(Moody, origin), list[bool]()
    for begin, end in zip([origin, *until], until, strict=False):
        said += hearing.feed(sound(begin, end))
    said += hearing.finish()
    return dict(enumerate(said, first_frame(origin)))


ALL = heard(0, len(SOUND) // 2)


def test_each_whole_frame_is_judged() -> None:
    assert sorted(ALL) == list(range(3 * SPAN))
    assert sum(ALL.values()) == pytest.approx(len(ALL) / 2, rel=0.1)


@settings(deadline=None, max_examples=60)
@given(positions, positions, positions)
def test_wherever_one_begins_to_listen_the_answers_are_the_same(sample: int, earlier: int, end: int) -> None:
    origin = max(0, listen_from(sample) - earlier)
    end = min(len(SOUND) // 2, max(end, origin + (COLD_START + 1) * FRAME))
    expected = {frame: ALL[frame] for frame in range(first_frame(sample), end // FRAME)}
    said = heard(origin, end)
    assert {frame: said[frame] for frame in expected} == expected


def test_who_begins_later_than_that_may_hear_otherwise() -> None:
    sample = (2 * SPAN + 30) * FRAME
    said = heard(listen_from(sample) + FRAME, len(SOUND) // 2)
    assert any(said[frame] != ALL[frame] for frame in range(2 * SPAN + 30, 3 * SPAN))


def test_no_more_is_to_be_heard_again_than_a_span_and_its_warm_up() -> None:
    assert listen_from(0) == listen_from((SPAN - 1) * FRAME) == 0
    assert listen_from(SPAN * FRAME) == listen_from((2 * SPAN - 1) * FRAME) == (SPAN - WARM_UP) * FRAME


@settings(deadline=None, max_examples=30)
@given(positions, st.lists(st.integers(0, 5_000), max_size=30))
def test_how_sound_is_cut_into_chunks_changes_nothing(origin: int, chunks: list[int]) -> None:
    places = [min(len(SOUND) // 2, origin + sum(chunks[:count])) for count in range(1, len(chunks) + 1)]
    assert heard(origin, *places) == heard(origin, *places[-1:])


def test_where_a_stretch_begins_the_first_frames_are_heard_twice() -> None:
    origin = 10 * FRAME + 7
    hearing, frames = Hearing(Moody, origin), [sound(at * FRAME, (at + 1) * FRAME) for at in range(11, 40)]
    detect = Moody()
    for frame in frames[:COLD_START]:
        detect(frame)
    assert hearing.feed(sound(origin, (11 + COLD_START) * FRAME - 1)) == []
    assert hearing.cold
    said = hearing.feed(sound((11 + COLD_START) * FRAME - 1, 40 * FRAME))
    assert not hearing.cold
    assert said == [detect(frame) for frame in frames]


def test_too_little_to_judge_by_is_judged_at_the_end() -> None:
    detect, frames = Moody(), [sound(at * FRAME, (at + 1) * FRAME) for at in range(5)]
    for frame in frames:
        detect(frame)
    assert list(heard(0, 5 * FRAME + 100).values()) == [detect(frame) for frame in frames]
    assert heard(0, 100) == heard(7) == {}


def test_a_guess_decides_nothing() -> None:
    hearing = Hearing(Moody, 7)
    assert hearing.feed(sound(7, 6 * FRAME)) == []
    assert hearing.guess() == list(heard(7, 6 * FRAME).values())
    assert hearing.cold
    assert hearing.feed(sound(6 * FRAME, 50 * FRAME)) == list(heard(7, 50 * FRAME).values())
