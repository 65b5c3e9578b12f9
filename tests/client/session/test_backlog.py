from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio import WIDTH
from client.errors import ServerError
from client.session.backlog import Tail


class Server:
    """Stores what a connection sends, acks some of it, and may lose what it has not acked when a connection breaks."""

    def __init__(self) -> None:
        self.stored = b""
        self.acked = 0

    @property
    def samples(self) -> int:
        return len(self.stored) // WIDTH


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 40)),
        st.tuples(st.just("take"), st.integers(1, 30)),
        st.tuples(st.just("ack"), st.integers(0, 1_000)),
        st.tuples(st.just("break"), st.integers(0, 1_000)),
    ),
    max_size=60,
)


@given(steps)
def test_whatever_is_acked_and_wherever_it_goes_on_the_server_gets_the_sound(steps: list[tuple[str, int]]) -> None:
    tail, server, read = Tail(limit=100), Server(), b""
    for what, number in [*steps, ("break", 0), ("take", 10_000)]:
        match what:
            case "add" if not tail.full:
                pcm = bytes((len(read) + byte) % 251 for byte in range(number * WIDTH))
                read += pcm
                tail.add(pcm)
            case "take":
                server.stored += tail.take(number)
            case "ack":
                server.acked = max(server.acked, min(number, server.samples))
                tail.ack(min(number, server.samples))
            case "break":
                kept = max(server.acked, min(number, server.samples))
                server.stored = server.stored[: kept * WIDTH]
                tail.resume(kept)
        assert tail.acked == server.acked
        assert tail.sent == server.samples
        assert tail.end == len(read) // WIDTH
        assert tail.unsent == tail.end - tail.sent
        assert tail.kept == tail.end - tail.acked < 140
    assert server.stored == read
    assert tail.unsent == 0


def test_a_tail_is_full_until_acks_come() -> None:
    tail = Tail(limit=10)
    tail.add(bytes(9 * WIDTH))
    assert not tail.full
    tail.add(bytes(1 * WIDTH))
    tail.take(10)
    assert tail.full
    tail.ack(1)
    assert not tail.full


def test_an_older_ack_takes_nothing_back() -> None:
    tail = Tail()
    tail.add(bytes(10 * WIDTH))
    tail.take(10)
    tail.ack(8)
    tail.ack(3)
    assert (tail.acked, tail.kept) == (8, 2)


def test_sound_that_was_never_sent_cannot_be_acked() -> None:
    tail = Tail()
    tail.add(bytes(10 * WIDTH))
    tail.take(4)
    with pytest.raises(ServerError, match="the server acked 5 samples of 4 that were sent"):
        tail.ack(5)


@pytest.mark.parametrize("sample", [3, 11])
def test_a_server_cannot_go_on_where_there_is_no_sound(sample: int) -> None:
    tail = Tail()
    tail.add(bytes(10 * WIDTH))
    tail.take(10)
    tail.ack(4)
    with pytest.raises(ServerError, match=f"expects sample {sample} next: there are only those from 4 to 10"):
        tail.resume(sample)
