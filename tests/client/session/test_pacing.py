from __future__ import annotations

import pytest

from client.session.pacing import delay, frame_bytes, take_frames, take_rest


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
