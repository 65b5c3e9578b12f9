"""How large batches may be while memory is short."""

from __future__ import annotations

from processors.stt.scheduling.limit import FIRST_PAUSE, LONGEST_PAUSE, BatchLimit


def test_a_batch_that_did_not_fit_halves_the_limit_and_never_below_one() -> None:
    limit = BatchLimit(16)
    limit.did_not_fit(16, 0.0)
    assert limit.value == 8
    limit.did_not_fit(16, 0.1)
    assert limit.value == 8, "decoded at the same time as the first"
    for size in (8, 4, 2, 1, 1):
        limit.did_not_fit(size, 1.0)
    assert limit.value == 1


def test_the_limit_doubles_once_nothing_has_failed_for_a_while() -> None:
    limit = BatchLimit(16)
    limit.did_not_fit(16, 0.0)
    limit.did_not_fit(8, 0.0)
    quiet = 2 * FIRST_PAUSE
    limit.fitted(4, quiet - 1)
    assert limit.value == 4
    limit.fitted(1, quiet)
    assert limit.value == 8
    limit.fitted(8, quiet + 1)
    assert limit.value == 8, "one step at a time"
    limit.fitted(8, quiet + FIRST_PAUSE)
    limit.fitted(8, quiet + 3 * FIRST_PAUSE)
    assert limit.value == 16


def test_failures_that_come_back_are_provoked_less_and_less_often() -> None:
    limit, now, waited = BatchLimit(2), 0.0, []
    for _ in range(8):
        limit.did_not_fit(2, now)
        failed_at = now
        while limit.value < 2:
            now += 1.0
            limit.fitted(1, now)
        waited.append(now - failed_at)
    assert waited[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert waited[-1] == LONGEST_PAUSE
    limit.fitted(2, now)
    limit.did_not_fit(2, now)
    limit.fitted(1, now + FIRST_PAUSE)
    assert limit.value == 2, "a full batch had fitted in between"
