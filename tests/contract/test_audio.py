from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import ContractError
from contract.audio import (
    MAX_BYTES,
    MAX_MESSAGE_BYTES,
    AudioFrame,
    Gap,
    Reassembler,
    Window,
    decode_audio,
    encode_audio,
)


@given(
    st.integers(0, 2**63),
    st.binary(max_size=2_000).filter(lambda pcm: len(pcm) % 2 == 0),
    st.booleans(),
    st.integers(1, 65_535),
)
def test_a_frame_comes_back_as_it_was(start: int, pcm: bytes, last: bool, generation: int) -> None:
    frame = AudioFrame(start, pcm, last, generation)
    assert decode_audio(encode_audio(frame)) == frame
    assert frame.end == start + len(pcm) // 2


def test_the_header_is_the_documented_one() -> None:
    data = encode_audio(AudioFrame(0x0102030405, b"\x01\x02", True, 2))
    assert data == bytes.fromhex("01 01 0200 01000000 0504030201000000 0102")
    cut = encode_audio(AudioFrame(0x0102, b"", cut=True))
    assert cut == bytes.fromhex("01 02 0100 00000000 0201000000000000")
    assert decode_audio(cut) == AudioFrame(0x0102, b"", cut=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"x" * 15, "15 bytes"),
        (b"\x09" + b"\0" * 15, "version 9"),
        (encode_audio(AudioFrame(0, b"\0\0")) + b"\0", "1 samples expected, 3 bytes found"),
        (encode_audio(AudioFrame(0, b"\0\0"))[:-1], "1 samples expected, 1 bytes found"),
        (encode_audio(AudioFrame(0, b"\0\0", cut=True)), "a cut has no samples and no `last`: 1 samples, flags 2"),
        (
            encode_audio(AudioFrame(0, b"", last=True, cut=True)),
            "a cut has no samples and no `last`: 0 samples, flags 3",
        ),
    ],
)
def test_an_unreadable_frame_says_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        decode_audio(data)


def push(window: Window, pcm: bytes = b"ab") -> int:
    """Make a message of one piece of sound; returns its token."""
    ((token, end, packed),), rest = window.push([pcm])
    assert (end, packed, rest) == (window.sent, pcm, [])
    return token


def test_only_the_contiguous_watermark_advances() -> None:
    window = Window(100, 8)
    first, second, third = (push(window, b"x" * 20) for _ in range(3))
    assert not window.ack(second)
    assert window.stored == 100
    assert window.ack(first)
    assert window.stored == 120
    assert window.ack(third)
    assert window.stored == 130
    assert window.empty


def test_a_window_is_full_at_its_number_of_messages() -> None:
    window = Window(0, 2)
    token = push(window)
    assert not window.full
    push(window)
    assert window.full
    window.ack(token)
    assert not window.full


def test_a_window_is_full_at_its_number_of_bytes() -> None:
    window = Window(0, 64, max_bytes=100)
    token = push(window, b"x" * 98)
    assert not window.full
    push(window, b"x" * 98)
    assert window.full
    window.ack(token)
    assert not window.full
    assert not window.empty


def test_audio_pushed_together_becomes_one_message() -> None:
    window = Window(0)
    assert window.push([b"abab", b"cd", b"efefef"]) == ([(0, 6, b"ababcdefefef")], [])
    assert window.push([b"gh", b""]) == ([(1, 7, b"gh")], [])
    assert window.push([b"", b""]) == ([], [])
    assert window.sent == 7
    assert window.ack(0)
    assert window.stored == 6


def test_push_returns_what_there_is_no_room_for() -> None:
    window = Window(0, 2, max_bytes=100)
    sound = [bytes([n]) * 40 for n in range(6)]
    messages, rest = window.push(sound)
    assert ([pcm for _, _, pcm in messages], rest) == ([sound[0] + sound[1], sound[2]], sound[3:])
    assert window.push(rest) == ([], rest)
    assert window.ack(messages[0][0])
    assert window.push(rest) == ([(2, 80, sound[3])], sound[4:])
    assert window.push(()) == ([], ())


def test_messages_have_a_greatest_length_but_a_single_piece_stays_whole() -> None:
    window = Window(0, max_bytes=1_000_000)
    sizes = [1_920] * 9 + [MAX_MESSAGE_BYTES + 2, 960]
    messages, rest = window.push([b"x" * size for size in sizes])
    assert not rest
    largest = MAX_MESSAGE_BYTES
    assert [len(pcm) for _, _, pcm in messages] == [largest, largest, 1_920, largest + 2, 960]
    assert messages[0][1] == MAX_MESSAGE_BYTES // 2
    assert messages[-1][1] == window.sent == sum(sizes) // 2
    assert all(window.ack(token) for token, _, _ in messages)
    assert window.empty


def test_after_a_refusal_everything_from_there_is_sent_again_in_order() -> None:
    window = Window(0, 8)
    tokens = [push(window, pcm) for pcm in (b"aa", b"bb", b"cc")]
    window.ack(tokens[0])
    window.refuse(tokens[1])
    assert not window.ack(tokens[2])  # stored, but behind one that is not
    push(window, b"dd")
    again = window.resend()
    assert [(end, pcm) for _, end, pcm in again] == [(2, b"bb"), (3, b"cc"), (4, b"dd")]
    assert not set(tokens) & {token for token, _, _ in again}


def test_answers_to_an_earlier_sending_are_ignored() -> None:
    window = Window(0, 8)
    old = push(window)
    window.refuse(old)
    (new, *_), *_ = window.resend()
    assert not window.ack(old)
    window.refuse(old)
    assert not window.refused
    assert window.ack(new)
    assert window.stored == 1


def test_a_lost_connection_refuses_only_what_was_under_way() -> None:
    window = Window(0, 8)
    window.mark_lost()
    assert not window.refused
    push(window)
    window.mark_lost()
    assert window.refused


@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_acked_audio_is_stored_in_order_whatever_the_stream_does(data: st.DataObject, frames: int, limit: int) -> None:
    window = Window(0, limit, max_bytes=100)
    wire: list[tuple[int, int, bytes]] = []
    stored: list[tuple[int, bytes]] = []
    taken = 0
    for _ in range(400):
        if taken < frames and not window.full:
            together = range(taken + 1, min(frames, taken + data.draw(st.integers(1, 3))) + 1)
            messages, rest = window.push([bytes([n, n]) for n in together])
            wire += messages
            taken += len(together) - len(rest)
        elif wire:
            token, end, pcm = wire.pop(0)
            fate = data.draw(st.sampled_from(["store", "store", "refuse", "lose the ack"]))
            if fate == "refuse":
                window.refuse(token)
            else:
                stored.append((end - len(pcm) // 2, pcm))
                if fate == "store":
                    window.ack(token)
        elif not window.empty:
            wire += window.resend()
        else:
            break
        accepted = b""  # by a reader that takes only what it expects next
        for start, pcm in stored:
            if start <= len(accepted) // 2:
                accepted += pcm[len(accepted) - 2 * start :]
        assert accepted == b"".join(bytes([n, n]) for n in range(1, len(accepted) // 2 + 1))
        assert window.stored <= len(accepted) // 2
        assert len(wire) <= 2 * limit
    if window.empty:
        assert window.stored == taken


SOUND = bytes(range(256)) * 40  # 5,120 samples, each different from its neighbours


def frame(start: int, end: int, last: bool = False) -> AudioFrame:
    return AudioFrame(start, SOUND[2 * start : 2 * end], last)


def test_frames_in_order_are_taken_whole() -> None:
    reassembler = Reassembler(0)
    assert reassembler.take(1, frame(0, 480)) + reassembler.take(2, frame(480, 960)) == SOUND[:1920]
    assert reassembler.expected == 960


def test_a_repeat_is_dropped_and_an_overlap_is_trimmed() -> None:
    reassembler = Reassembler(0)
    reassembler.take(1, frame(0, 480))
    assert reassembler.take(2, frame(0, 480)) == b""
    assert reassembler.take(3, frame(240, 720)) == SOUND[960:1440]


def test_a_frame_that_comes_too_early_is_dropped_because_it_comes_again() -> None:
    reassembler = Reassembler(0)
    assert reassembler.take(1, frame(480, 960)) == b""
    assert reassembler.take(2, frame(0, 480)) == SOUND[:960]
    assert reassembler.take(3, frame(480, 960)) == SOUND[960:1920]


def test_audio_missing_before_the_end_is_a_gap() -> None:
    reassembler = Reassembler(0)
    reassembler.take(7, frame(480, 960))
    with pytest.raises(Gap, match="before sample 480 is gone") as caught:
        reassembler.take(8, frame(960, 960, last=True))
    assert (caught.value.sample, caught.value.seq) == (480, 7)
    reassembler.skip(caught.value)
    assert reassembler.sequence_of(0) == 7
    assert reassembler.take(7, frame(480, 960)) == SOUND[960:1920]
    assert reassembler.sequence_of(0) == 7


def test_more_missing_audio_than_can_be_under_way_is_a_gap() -> None:
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


def test_a_cut_has_no_audio_and_is_ignored_if_it_comes_too_early() -> None:
    reassembler = Reassembler(0)
    reassembler.take(1, frame(0, 480))
    assert [reassembler.take(2, cut(at)) for at in (0, 480, 960, 10**9)] == [b""] * 4
    assert [reassembler.cuts(cut(at)) for at in (0, 480, 481)] == [True, True, False]
    assert not reassembler.cuts(AudioFrame(480, b""))
    assert reassembler.take(3, frame(480, 960)) == SOUND[960:1920]
    assert reassembler.cuts(cut(960))


def test_a_cut_that_comes_too_early_is_no_sign_of_a_gap() -> None:
    reassembler = Reassembler(0)
    reassembler.take(4, cut(480))
    reassembler.take(5, frame(960, 1_440))
    with pytest.raises(Gap) as caught:
        reassembler.take(6, frame(1_440, 1_440, last=True))
    assert (caught.value.sample, caught.value.seq) == (960, 5)


def test_no_sample_is_read_from_a_cut() -> None:
    reassembler = Reassembler(1_000)
    assert reassembler.take(3, cut(480)) == b""
    assert reassembler.expected == 1_000
    reassembler.take(4, frame(480, 960))
    reassembler.take(5, cut(960))
    reassembler.take(6, frame(960, 1_440))
    assert [reassembler.sequence_of(sample) for sample in (480, 959, 960, 1_439)] == [4, 4, 4, 4]


def test_the_sequence_of_a_sample_is_known_until_it_is_forgotten() -> None:
    """To the second; the samples before it are dropped when they are read again."""
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
def test_the_audio_is_whole_however_it_was_divided_refused_and_sent_again(
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


def test_a_gap_is_known_until_it_is_filled() -> None:
    reassembler = Reassembler(0)
    assert reassembler.gap is None
    for seq, one in enumerate((frame(0, 480), frame(960, 1_440), frame(1_440, 1_920)), 1):
        reassembler.take(seq, one)
    gap = reassembler.gap
    assert gap is not None
    assert (gap.sample, gap.seq) == (960, 2)
    reassembler.take(4, frame(480, 960))
    assert reassembler.gap is None
