from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bus.backoff import delay_after, delays


def test_delays_double_up_to_the_longest() -> None:
    assert [delay_after(n, 0.25, 3) for n in range(1, 7)] == [0.25, 0.5, 1, 2, 3, 3]
    assert delay_after(10_000, 0.25, 3) == 3


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_jitter_takes_at_most_half_of_a_delay(failures: int, chance: float) -> None:
    whole = delay_after(failures, 0.1, 30)
    assert whole / 2 <= delay_after(failures, 0.1, 30, chance) <= whole


def test_each_retry_loop_has_its_own_delays() -> None:
    one, other = (list(islice(delays(1, 8), 10)) for _ in range(2))
    assert one != other
    for found in (one, other):
        assert all(delay_after(n, 1, 8, 0) <= delay <= delay_after(n, 1, 8) for n, delay in enumerate(found, 1))
