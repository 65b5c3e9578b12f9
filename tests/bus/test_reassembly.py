from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.reassembly import Gap, Reassembler
from bus.window import MAX_BYTES
from contract.audio import AudioFrame

SOUND = bytes(range(256)) * 40  # 5,120 samples, each different from its neighbours


def frame(start: int, end: int, last: bool = False) -> AudioFrame:
    return AudioFrame(start, SOUND[2 * start : 2 * end], last)


def test_frames_in_order_are_taken_whole() -> None:
    reassembler = Reassembler(0)
    assert reassembler.take(1, frame(0, 480)) + reassembler.take(2, frame(480, 960)) == SOUND[:1920]
    assert reassembler.expected == 960


def test_a_repeat_is_passed_over_and_an_overlap_is_trimmed() -> None:
    reassembler = Reassembler(0)
    reassembler.take(1, frame(0, 480))
    assert reassembler.take(2, frame(0, 480)) == b""
    assert reassembler.take(3, frame(240, 720)) == SOUND[960:1440]


def test_what_comes_too_early_is_not_taken_because_it_comes_again() -> None:
    reassembler = Reassembler(0)
    assert reassembler.take(1, frame(480, 960)) == b""
    assert reassembler.take(2, frame(0, 480)) == SOUND[:960]
    assert reassembler.take(3, frame(480, 960)) == SOUND[960:1920]


def test_a_hole_before_the_end_will_not_be_filled() -> None:
    reassembler = Reassembler(0)
    reassembler.take(7, frame(480, 960))
    with pytest.raises(Gap, match="before sample 480 is gone") as caught:
        reassembler.take(8, frame(960, 960, last=True))
    assert (caught.value.sample, caught.value.seq) == (480, 7)
    reassembler.skip(caught.value)
    assert reassembler.sequence_of(0) == 7
    assert reassembler.take(7, frame(480, 960)) == SOUND[960:1920]
    assert reassembler.sequence_of(0) == 7


def test_a_hole_larger_than_what_can_be_under_way_will_not_be_filled() -> None:
    reassembler = Reassembler(0)
    assert reassembler.take(5, AudioFrame(MAX_BYTES // 2, b"\0\0")) == b""
    with pytest.raises(Gap):
        reassembler.take(6, AudioFrame(MAX_BYTES // 2 + 1, b"\0\0"))


def test_reading_may_begin_before_the_start() -> None:
    reassembler = Reassembler(1_000)
    assert reassembler.take(4, frame(480, 960)) == SOUND[960:1920]
    assert reassembler.take(5, frame(960, 1_440)) == SOUND[1920:2880]


def cut(start: int) -> AudioFrame:
    return AudioFrame(start, b"", cut=True)


def test_a_cut_brings_no_sound_and_means_nothing_where_it_came_too_early() -> None:
    reassembler = Reassembler(0)
    reassembler.take(1, frame(0, 480))
    assert [reassembler.take(2, cut(at)) for at in (0, 480, 960, 10**9)] == [b""] * 4
    assert [reassembler.cuts(cut(at)) for at in (0, 480, 481)] == [True, True, False]
    assert not reassembler.cuts(AudioFrame(480, b""))
    assert reassembler.take(3, frame(480, 960)) == SOUND[960:1920]
    assert reassembler.cuts(cut(960))


def test_a_cut_that_came_too_early_is_no_sign_of_a_gap() -> None:
    reassembler = Reassembler(0)
    reassembler.take(4, cut(480))
    reassembler.take(5, frame(960, 1_440))
    with pytest.raises(Gap) as caught:
        reassembler.take(6, frame(1_440, 1_440, last=True))
    assert (caught.value.sample, caught.value.seq) == (960, 5)


def test_a_cut_is_no_message_to_read_a_sample_from() -> None:
    reassembler = Reassembler(1_000)
    assert reassembler.take(3, cut(480)) == b""
    assert reassembler.expected == 1_000
    reassembler.take(4, frame(480, 960))
    reassembler.take(5, cut(960))
    reassembler.take(6, frame(960, 1_440))
    assert [reassembler.sequence_of(sample) for sample in (480, 959, 960, 1_439)] == [4, 4, 4, 4]


def test_where_a_sample_can_be_read_again_is_known_as_long_as_it_may_be_asked_for() -> None:
    """To the second: what is read before it is passed over."""
    reassembler = Reassembler(0)
    for n in range(100):
        reassembler.take(100 + n, AudioFrame(600 * n, bytes(1_200)))
    samples = (-5, 0, 599, 16_199, 16_200, 32_399, 32_400, 59_999)
    assert [reassembler.sequence_of(sample) for sample in samples] == [100, 100, 100, 100, 127, 127, 154, 181]
    reassembler.forget(33_000)
    assert reassembler.sequence_of(33_000) == 154
    assert reassembler.sequence_of(0) == 154


ROUNDS = st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(0, 12))), max_size=6)


@given(
    st.sets(st.integers(1, 2_559), max_size=12), ROUNDS, st.sets(st.tuples(st.integers(0, 40), st.integers(0, 2_560)))
)
def test_the_sound_is_whole_however_it_was_cut_refused_and_sent_again(
    cuts: set[int], rounds: list[tuple[int, set[int]]], marks: set[tuple[int, int]]
) -> None:
    """Go-back-N as the publisher does it: each round begins at or before the watermark, and loses some frames."""
    frames = [frame(start, end) for start, end in pairwise(sorted({0, 2_560, *cuts}))]
    stored: list[AudioFrame] = []
    watermark = 0  # frames that a publisher may believe stored
    for back, refused in [*rounds, (0, set())]:
        begin = max(0, watermark - back)
        stored += [one for n, one in enumerate(frames[begin:], begin) if n not in refused]
        reach = next((n for n in range(begin, len(frames)) if n in refused), len(frames))
        watermark = max(watermark, reach)
    for place, start in sorted(marks):  # requests to cut, stored anywhere
        stored.insert(place, cut(start))
    stored.append(frame(2_560, 2_560, last=True))
    reassembler = Reassembler(0)
    assert b"".join(reassembler.take(seq, one) for seq, one in enumerate(stored, 1)) == SOUND[:5_120]


def test_what_came_too_early_is_known_until_the_gap_is_filled() -> None:
    reassembler = Reassembler(0)
    assert reassembler.gap is None
    for seq, one in enumerate((frame(0, 480), frame(960, 1_440), frame(1_440, 1_920)), 1):
        reassembler.take(seq, one)
    gap = reassembler.gap
    assert gap is not None
    assert (gap.sample, gap.seq) == (960, 2)
    reassembler.take(4, frame(480, 960))
    assert reassembler.gap is None
