"""The sender's side of go-back-N, against a stream that refuses, loses and delays what it likes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.window import MAX_MESSAGE_BYTES, Window


def push(window: Window, pcm: bytes = b"ab") -> int:
    """Make a message of one piece of sound; returns its token."""
    ((token, end, packed),), rest = window.push([pcm])
    assert (end, packed, rest) == (window.sent, pcm, [])
    return token


def test_the_watermark_is_contiguous() -> None:
    window = Window(100, 8)
    first, second, third = (push(window, b"x" * 20) for _ in range(3))
    assert not window.ack(second)
    assert window.stored == 100
    assert window.ack(first)
    assert window.stored == 120
    assert window.ack(third)
    assert window.stored == 130
    assert window.empty


def test_full_means_that_the_next_must_wait() -> None:
    window = Window(0, 2)
    token = push(window)
    assert not window.full
    push(window)
    assert window.full
    window.ack(token)
    assert not window.full


def test_full_is_a_matter_of_bytes_too() -> None:
    window = Window(0, 64, max_bytes=100)
    token = push(window, b"x" * 98)
    assert not window.full
    push(window, b"x" * 98)
    assert window.full
    window.ack(token)
    assert not window.full
    assert not window.empty


def test_what_comes_together_is_one_message() -> None:
    window = Window(0)
    assert window.push([b"abab", b"cd", b"efefef"]) == ([(0, 6, b"ababcdefefef")], [])
    assert window.push([b"gh", b""]) == ([(1, 7, b"gh")], [])
    assert window.push([b"", b""]) == ([], [])
    assert window.sent == 7
    assert window.ack(0)
    assert window.stored == 6


def test_what_there_is_no_room_for_comes_back() -> None:
    window = Window(0, 2, max_bytes=100)
    sound = [bytes([n]) * 40 for n in range(6)]
    messages, rest = window.push(sound)
    assert ([pcm for _, _, pcm in messages], rest) == ([sound[0] + sound[1], sound[2]], sound[3:])
    assert window.push(rest) == ([], rest)
    assert window.ack(messages[0][0])
    assert window.push(rest) == ([(2, 80, sound[3])], sound[4:])
    assert window.push(()) == ([], ())


def test_no_message_is_longer_than_it_pays_but_what_came_in_one_piece() -> None:
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


def test_after_a_refusal_all_from_there_is_sent_again_in_order() -> None:
    window = Window(0, 8)
    tokens = [push(window, pcm) for pcm in (b"aa", b"bb", b"cc")]
    window.ack(tokens[0])
    window.refuse(tokens[1])
    assert not window.ack(tokens[2])  # stored, but behind a hole
    push(window, b"dd")
    again = window.resend()
    assert [(end, pcm) for _, end, pcm in again] == [(2, b"bb"), (3, b"cc"), (4, b"dd")]
    assert not set(tokens) & {token for token, _, _ in again}


def test_answers_to_an_earlier_round_say_nothing() -> None:
    window = Window(0, 8)
    old = push(window)
    window.refuse(old)
    (new, *_), *_ = window.resend()
    assert not window.ack(old)
    window.refuse(old)
    assert not window.refused
    assert window.ack(new)
    assert window.stored == 1


def test_a_lost_connection_is_a_refusal_only_of_what_was_under_way() -> None:
    window = Window(0, 8)
    window.mark_lost()
    assert not window.refused
    push(window)
    window.mark_lost()
    assert window.refused


@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_what_is_acked_is_stored_in_order_whatever_the_stream_does(
    data: st.DataObject, frames: int, limit: int
) -> None:
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
            fate = data.draw(st.sampled_from(["store", "store", "refuse", "mark_lost the ack"]))
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
