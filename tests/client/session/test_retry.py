from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.session.retry import Outage, backoff


def test_waits_double_up_to_five_seconds() -> None:
    waits = [backoff(attempt, 1.0) for attempt in range(1, 8)]
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert backoff(10_000, 1.0) == 5.0


@given(st.integers(1, 100), st.floats(0, 1))
def test_jitter_is_full(attempt: int, chance: float) -> None:
    assert backoff(attempt, chance) == pytest.approx(chance * backoff(attempt, 1.0))


def test_attempts_count_up_until_there_is_progress() -> None:
    outage = Outage()
    waits = [outage.next_delay(now, 1.0) for now in (0.0, 0.2, 0.6)]
    assert waits == pytest.approx([0.2, 0.4, 0.8])
    outage.connected(1.4)
    assert outage.next_delay(2.0, 1.0) == pytest.approx(1.6)
    assert outage.attempt == 4
    outage.connected(3.6)
    outage.progress()
    assert outage.next_delay(5.0, 1.0) == pytest.approx(0.2)
    assert outage.attempt == 1


def test_retry_after_is_respected() -> None:
    outage = Outage(give_up_after=60)
    assert outage.next_delay(0.0, 0.5, retry_after=7) == 7
    assert outage.next_delay(7.0, 0.5, retry_after=0.1) == pytest.approx(0.2)
    assert outage.next_delay(8.0, 0.5, retry_after=1e9) == 52, "the last attempt is the one at the end of patience"


def test_it_is_given_up_in_the_end() -> None:
    outage = Outage(give_up_after=60)
    assert outage.next_delay(100.0, 0.0) == 0
    assert outage.next_delay(130.0, 0.0) == 0
    assert outage.next_delay(159.0, 1.0) is not None
    assert outage.next_delay(160.0, 1.0) is None


def test_time_in_which_the_machine_was_suspended_does_not_count() -> None:
    outage = Outage(give_up_after=60)
    outage.next_delay(0.0, 0.0)
    assert outage.next_delay(7_200.0, 0.0) is not None
    assert outage.next_delay(7_219.0, 0.0) is not None
    assert outage.next_delay(7_220.0, 0.0) is None


def test_without_patience_there_is_one_attempt() -> None:
    assert Outage(give_up_after=0).next_delay(100.0, 1.0) is None


def test_only_time_without_a_connection_counts() -> None:
    outage = Outage(give_up_after=60)
    outage.next_delay(0.0, 1.0)
    outage.connected(30.0)
    assert outage.next_delay(1_000.0, 1.0) is not None
    assert outage.next_delay(1_029.0, 1.0) is not None
    assert outage.next_delay(1_030.0, 1.0) is None


def test_a_server_that_breaks_each_time_is_given_up() -> None:
    outage = Outage(give_up_after=60)
    now, attempts = 0.0, 0
    while (wait := outage.next_delay(now, 0.5)) is not None:
        now += wait
        outage.connected(now)
        attempts += 1
        assert attempts < 1_000
    assert now == pytest.approx(60)
