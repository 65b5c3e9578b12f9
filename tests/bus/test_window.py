"""The sender's side of go-back-N, against a stream that refuses, loses and delays what it likes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.window import Window


def test_the_watermark_is_contiguous() -> None:
    window = Window(0, 8)
    first, second, third = (window.push(end, b"") for end in (10, 20, 30))
    assert not window.ack(second)
    assert window.stored == 0
    assert window.ack(first)
    assert window.stored == 20
    assert window.ack(third)
    assert window.empty


def test_full_means_that_the_next_push_must_wait() -> None:
    window = Window(0, 2)
    token = window.push(10, b"")
    assert not window.full
    window.push(20, b"")
    assert window.full
    window.ack(token)
    assert not window.full


def test_full_is_a_matter_of_bytes_too() -> None:
    window = Window(0, 64, most_bytes=100)
    token = window.push(10, b"x" * 99)
    assert not window.full
    window.push(20, b"x" * 99)
    assert window.full
    window.ack(token)
    assert not window.full


def test_after_a_refusal_all_from_there_is_sent_again_in_order() -> None:
    window = Window(0, 8)
    tokens = [window.push(end, bytes([end])) for end in (10, 20, 30)]
    window.ack(tokens[0])
    window.refuse(tokens[1])
    assert not window.ack(tokens[2])  # stored, but behind a hole
    again = window.resend()
    assert [(end, pcm) for _, end, pcm in again] == [(20, bytes([20])), (30, bytes([30]))]
    assert not set(tokens) & {token for token, _, _ in again}


def test_answers_to_an_earlier_round_say_nothing() -> None:
    window = Window(0, 8)
    old = window.push(10, b"")
    window.refuse(old)
    (new, *_), *_ = window.resend()
    assert not window.ack(old)
    window.refuse(old)
    assert not window.refused
    assert window.ack(new)
    assert window.stored == 10


def test_a_lost_connection_is_a_refusal_only_of_what_was_under_way() -> None:
    window = Window(0, 8)
    window.lose()
    assert not window.refused
    window.push(10, b"")
    window.lose()
    assert window.refused


@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_what_is_acked_is_stored_in_order_whatever_the_stream_does(
    data: st.DataObject, frames: int, limit: int
) -> None:
    window, wire, stored = Window(0, limit), [], []
    pushed = 0
    for _ in range(400):
        if pushed < frames and not window.full:
            pushed += 1
            wire.append((window.push(pushed, bytes([pushed])), bytes([pushed])))
        elif wire:
            token, payload = wire.pop(0)
            fate = data.draw(st.sampled_from(["store", "store", "refuse", "lose the ack"]))
            if fate == "refuse":
                window.refuse(token)
            else:
                stored.append(payload[0])
                if fate == "store":
                    window.ack(token)
        elif not window.empty:
            wire += [(token, pcm) for token, _, pcm in window.resend()]
        else:
            break
        accepted = 0  # by a reader that takes only what it expects next
        for frame in stored:
            accepted += frame == accepted + 1
        assert window.stored <= accepted
        assert len(wire) <= 2 * limit
    if window.empty:
        assert window.stored == pushed
