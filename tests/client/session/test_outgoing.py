from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import ServerError
from client.session.outgoing import Backlog, delay, frame_bytes, take_frames, take_rest
from contract import WIDTH


def test_thirty_milliseconds_are_960_bytes() -> None:
    assert [frame_bytes(ms) for ms in (10, 30, 100, 1_000)] == [320, 960, 3_200, 32_000]


def test_frames_do_not_depend_on_how_the_sound_came() -> None:
    sound = bytes(range(250)) * 4
    whole = bytearray(sound)
    expected = [*take_frames(whole, 64), take_rest(whole)]
    got: list[bytes] = []
    buffer = bytearray()
    for at in range(0, len(sound), 7):
        buffer += sound[at : at + 7]
        got += take_frames(buffer, 64)
    assert [*got, take_rest(buffer)] == expected
    assert b"".join(expected) == sound
    assert {len(frame) for frame in expected[:-1]} == {64}


def test_half_a_sample_is_left() -> None:
    buffer = bytearray(b"abcde")
    assert take_rest(buffer) == b"abcd"
    assert (bytes(buffer), take_rest(buffer)) == (b"e", b"")


@pytest.mark.parametrize(
    ("now", "index", "expected"),
    [(100.0, 0, 0.03), (100.0, 9, 0.3), (100.01, 0, 0.02), (100.5, 9, 0.0), (100.3, 9, 0.0)],
)
def test_the_schedule_is_absolute(now: float, index: int, expected: float) -> None:
    assert delay(now, 100.0, index, 30) == pytest.approx(expected)


def test_late_wake_ups_do_not_add_up() -> None:
    now = start = 5.0
    for index in range(1_000):
        now += delay(now, start, index, 30) + 0.004
    assert now - start == pytest.approx(30.004)


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
def test_the_server_gets_all_audio_whatever_is_acked_and_wherever_it_resumes(steps: list[tuple[str, int]]) -> None:
    backlog, server, read = Backlog(limit=100), Server(), b""
    for what, number in [*steps, ("break", 0), ("take", 10_000)]:
        match what:
            case "add" if not backlog.full:
                pcm = bytes((len(read) + byte) % 251 for byte in range(number * WIDTH))
                read += pcm
                backlog.add(pcm)
            case "take":
                server.stored += backlog.take(number)
            case "ack":
                server.acked = max(server.acked, min(number, server.samples))
                backlog.ack(min(number, server.samples))
            case "break":
                kept = max(server.acked, min(number, server.samples))
                server.stored = server.stored[: kept * WIDTH]
                backlog.resume(kept)
        assert backlog.acked == server.acked
        assert backlog.sent == server.samples
        assert backlog.end == len(read) // WIDTH
        assert backlog.unsent == backlog.end - backlog.sent
        assert backlog.unacked == backlog.end - backlog.acked < 140
    assert server.stored == read
    assert backlog.unsent == 0


def test_a_backlog_is_full_until_acks_come() -> None:
    backlog = Backlog(limit=10)
    backlog.add(bytes(9 * WIDTH))
    assert not backlog.full
    backlog.add(bytes(1 * WIDTH))
    backlog.take(10)
    assert backlog.full
    backlog.ack(1)
    assert not backlog.full


def test_an_older_ack_takes_nothing_back() -> None:
    backlog = Backlog()
    backlog.add(bytes(10 * WIDTH))
    backlog.take(10)
    backlog.ack(8)
    backlog.ack(3)
    assert (backlog.acked, backlog.unacked) == (8, 2)


def test_sound_that_was_never_sent_cannot_be_acked() -> None:
    backlog = Backlog()
    backlog.add(bytes(10 * WIDTH))
    backlog.take(4)
    with pytest.raises(ServerError, match="the server acked 5 samples of 4 that were sent"):
        backlog.ack(5)


@pytest.mark.parametrize("sample", [3, 11])
def test_a_server_cannot_resume_where_there_is_no_audio(sample: int) -> None:
    backlog = Backlog()
    backlog.add(bytes(10 * WIDTH))
    backlog.take(10)
    backlog.ack(4)
    with pytest.raises(ServerError, match=f"expects sample {sample} next, but the client has only 4 to 10"):
        backlog.resume(sample)
