from __future__ import annotations

from compose.policy import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.25, longest=3)
    assert [backoff.pause(failures) for failures in range(1, 7)] == [0.25, 0.5, 1, 2, 3, 3]
    assert backoff.pause(100_000) == 3


def test_failures_count_up_until_a_run_is_healthy() -> None:
    backoff = Backoff(healthy=60)
    assert backoff.failures(0, ran=0.1) == 1
    assert backoff.failures(4, ran=59.9) == 5
    assert backoff.failures(4, ran=60) == 1
