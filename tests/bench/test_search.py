from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.search import Search


def tried(search: Search, held: Callable[[int], bool]) -> list[int]:
    found = []
    while (streams := search.due) is not None:
        found.append(streams)
        search.tell(held=held(streams))
    return found


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 9, 27, 64, 100, 450])
def test_it_ends_within_a_tenth_below_the_limit(limit: int) -> None:
    search = Search(start=8, most=512)
    tried(search, lambda streams: streams <= limit)
    assert search.low <= limit < search.high
    assert search.high - search.low <= max(1, search.low // 10)


def test_it_doubles_then_halves_and_tries_a_failure_twice() -> None:
    doubled, halved = [8, 16, 32, 64, 64], [48, 48, 40, 44, 44]
    assert tried(Search(start=8, most=512), lambda streams: streams <= 41) == doubled + halved


def test_a_failure_that_does_not_come_again_is_forgotten() -> None:
    answers = iter([True, False, True, False, False])
    search = Search(start=10, most=1_000)
    for _ in range(5):
        assert search.due is not None
        search.tell(held=next(answers))
    assert (search.low, search.high) == (20, 40)


def test_it_stops_at_the_most() -> None:
    search = Search(start=8, most=40)
    assert tried(search, lambda _: True) == [8, 16, 32, 40]
    assert (search.low, search.high) == (40, 0)


def test_it_begins_with_no_more_than_the_most() -> None:
    assert tried(Search(start=8, most=2), lambda _: True) == [2]


def test_what_is_known_is_not_told_again() -> None:
    search = Search(start=4, most=4)
    search.tell(held=True)
    with pytest.raises(ValueError, match="it is known already: 4 streams"):
        search.tell(held=True)
