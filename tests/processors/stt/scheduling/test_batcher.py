"""What is decoded next, and together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.stt.scheduling.batcher import MAX_RATIO, MAX_SKIPPED, Batcher, Entry, Priority

LIVE, PARTIAL, UPLOAD, REPLAY, CORRECTION = Priority


def waiting(
    item: object, priority: Priority = LIVE, group: str = "a", cost: float = 1.0, seconds: float = 1.0
) -> Entry[object]:
    return Entry(item, priority, group, cost, seconds)


def batcher(*items: Entry[object], max_items: int = 8, max_cost: float = 100.0, workers: int = 1) -> Batcher[object]:
    made: Batcher[object] = Batcher(max_items, max_cost, workers)
    for item in items:
        made.add(item)
    return made


def taken(of: Batcher[object]) -> list[list[object]]:
    """All batches until nothing waits."""
    return list(iter(of.take, []))


def test_nothing_waits() -> None:
    assert batcher().take() == []
    assert len(batcher()) == 0


def test_priority_decides_first_then_age() -> None:
    made = batcher(waiting("r", REPLAY), waiting("u", UPLOAD), waiting("p", PARTIAL), waiting("l", LIVE), max_items=1)
    made.add(waiting("r2", REPLAY))
    made.add(waiting("l2", LIVE))
    assert taken(made) == [["l"], ["l2"], ["p"], ["u"], ["r"], ["r2"]]


def test_a_batch_has_one_group_and_one_priority_in_order_of_age() -> None:
    made = batcher(
        waiting("u", UPLOAD), waiting("l1"), waiting("other", LIVE, "b"), waiting("p", PARTIAL), waiting("l2")
    )
    assert taken(made) == [["l1", "l2"], ["other"], ["p"], ["u"]]


def test_a_batch_has_at_most_max_items() -> None:
    assert taken(batcher(*map(waiting, range(7)), max_items=3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_batch_has_at_most_max_cost_unless_it_is_a_single_entry() -> None:
    costs = [30, 30, 30, 90, 1]
    made = batcher(*(waiting(index, cost=cost) for index, cost in enumerate(costs)), max_cost=60)
    assert taken(made) == [[0, 1], [2], [3], [4]]


def test_interim_results_and_corrections_are_decoded_in_smaller_batches() -> None:
    made: Batcher[object] = Batcher(8, 100.0, max_background=60.0)
    for priority in Priority:
        for _ in range(3):
            made.add(waiting(priority, priority, cost=30.0))
    assert taken(made) == [
        [LIVE] * 3,
        [PARTIAL] * 2,
        [PARTIAL],
        [UPLOAD] * 3,
        [REPLAY] * 3,
        [CORRECTION] * 2,
        [CORRECTION],
    ]


def test_free_workers_share_a_group() -> None:
    made = batcher(*map(waiting, range(7)), waiting("other", group="b"), workers=3)
    assert made.take() == [0, 1, 2]
    assert made.take([LIVE]) == [3, 4]
    assert made.take([LIVE, LIVE]) == [5, 6]
    assert made.take([LIVE]) == ["other"]


def test_a_batch_starts_while_fewer_than_workers_are_as_urgent() -> None:
    made = batcher(*map(waiting, range(2)), waiting("p", PARTIAL), waiting("u", UPLOAD), max_items=1, workers=2)
    assert made.take([LIVE, LIVE]) == []
    assert made.take([LIVE, PARTIAL, PARTIAL, REPLAY]) == [0]
    assert made.take([REPLAY, REPLAY, CORRECTION]) == [1]
    assert made.take([LIVE, PARTIAL]) == []
    assert made.take([LIVE, UPLOAD, UPLOAD]) == ["p"]
    assert made.take([PARTIAL, UPLOAD]) == []
    assert made.take([PARTIAL, REPLAY]) == ["u"]


def test_corrections_start_only_while_nothing_else_waits_or_is_in_progress() -> None:
    made = batcher(*(waiting(("c", n), CORRECTION) for n in range(3)), max_items=1, workers=2)
    for number in range(2 * MAX_SKIPPED):
        made.add(waiting(number, REPLAY))
        assert made.take() == [number]
    assert made.take([REPLAY]) == []
    assert made.take() == [("c", 0)]
    assert made.take([CORRECTION]) == [("c", 1)]
    assert made.take([CORRECTION, CORRECTION]) == []


def test_a_much_longer_utterance_does_not_join_a_batch() -> None:
    lengths = [4.0, 8.0, 8.1, 2.0, 20.0, 30.0, 5.0]
    made = batcher(*(waiting(seconds, seconds=seconds) for seconds in lengths))
    assert taken(made) == [[4.0, 8.0, 2.0, 5.0], [8.1], [20.0, 30.0]]


def _mean_wait_of_short_ones(lengths: Sequence[float], every: float) -> float:
    """Utterances arrive at a steady rate and are decoded by one worker: mean seconds until the text of those of 2 s.

    The encoder takes half a second for each window, about as whisper-base on two cores; the texts take 0.06 s for each
    second of the longest utterance.
    """
    made: Batcher[tuple[float, float]] = Batcher(8, 480.0)
    arrivals = [(number * every, seconds) for number, seconds in enumerate(lengths)]
    now, waits = 0.0, []
    while arrivals or len(made):
        if not len(made):
            now = max(now, arrivals[0][0])
        while arrivals and arrivals[0][0] <= now:
            arrived, seconds = arrivals.pop(0)
            made.add(Entry((arrived, seconds), LIVE, "30 s", 30.0, seconds))
        batch = made.take()
        now += 0.5 * len(batch) + 0.06 * max(seconds for _, seconds in batch)
        waits += [now - arrived for arrived, seconds in batch if seconds == 2.0]
    return mean(waits)


def test_short_utterances_wait_less_than_if_long_ones_joined_their_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [28.0 if number % 6 == 3 else 2.0 for number in range(600)]
    apart = _mean_wait_of_short_ones(lengths, every=0.75)
    monkeypatch.setattr("processors.stt.scheduling.batcher.MAX_RATIO", math.inf)
    joined = _mean_wait_of_short_ones(lengths, every=0.75)
    assert apart < 0.7 * joined


def test_a_discarded_entry_is_not_taken() -> None:
    kept, dropped = waiting("kept"), waiting("dropped")
    made = batcher(dropped, kept)
    made.discard(dropped)
    made.discard(dropped)
    assert len(made) == 1
    assert taken(made) == [["kept"]]
    made.discard(kept)
    assert len(made) == 0


def test_under_lasting_overload_each_priority_gets_its_turn() -> None:
    made = batcher(*(waiting(("replay", n), REPLAY) for n in range(3)), waiting(("upload", 0), UPLOAD), max_items=1)
    order: list[object] = []
    for number in range(4 * (MAX_SKIPPED + 1)):
        made.add(waiting(("live", number), LIVE))
        made.add(waiting(("partial", number), PARTIAL))
        made.add(waiting(("correction", number), CORRECTION))
        order += made.take()
    assert order[: MAX_SKIPPED + 3] == [
        *(("live", n) for n in range(MAX_SKIPPED)),
        ("partial", 0),
        ("upload", 0),
        ("replay", 0),
    ]
    live = sum(item[0] == "live" for item in order if isinstance(item, tuple))
    assert live >= len(order) * 2 // 3  # what is live still has most of it
    assert ("replay", 2) in order
    assert ("correction", 0) not in order


kinds = st.lists(
    st.tuples(st.sampled_from(Priority), st.sampled_from("abc"), st.floats(0.5, 40), st.floats(0.1, 30)), max_size=4
)
steps = st.lists(st.tuples(kinds, st.lists(st.sampled_from(Priority), max_size=4), st.booleans()), max_size=30)


@given(
    steps.flatmap(lambda first: steps.map(lambda again: first + 5 * again)),
    st.integers(1, 5),
    st.floats(10, 60),
    st.integers(1, 3),
)
def test_everything_is_taken_once_and_in_bounded_time_in_valid_batches(
    steps: list[tuple[list[tuple[Priority, str, float, float]], list[Priority], bool]],
    max_items: int,
    max_cost: float,
    workers: int,
) -> None:
    made: Batcher[object] = Batcher(max_items, max_cost, workers)
    known: dict[object, Entry[object]] = {}
    due: dict[object, int] = {}
    left: list[object] = []  # those that wait, oldest first

    def take(running: list[Priority]) -> bool:
        before = list(left)
        batch = made.take(running)
        ready = {known[item].priority for item in before if made.free(known[item].priority, running)}
        assert bool(batch) == bool(ready)
        assert len(set(batch)) == len(batch)
        assert set(batch) <= set(before)  # nothing twice, nothing that was discarded
        for item in batch:
            left.remove(item)
        assert len(made) == len(left)
        if not batch:
            return False
        entries = [known[item] for item in batch]
        head = entries[0]
        assert {(entry.group, entry.priority) for entry in entries} == {(head.group, head.priority)}
        assert head.priority in ready
        assert (head.priority == CORRECTION) <= (ready == {CORRECTION})
        assert len(batch) == 1 or sum(entry.cost for entry in entries) <= max_cost
        assert all(entry.seconds <= MAX_RATIO * head.seconds for entry in entries)
        same = [known[item] for item in before if known[item].priority == head.priority]
        assert head is same[0]
        alike = sum(entry.group == head.group for entry in same)
        assert len(batch) <= min(max_items, -(-alike // made.free(head.priority, running)))
        return True

    turn = 0
    for arrivals, running, drop in steps:
        for priority, group, cost, seconds in arrivals:
            item = len(known)
            known[item] = Entry(item, priority, group, cost, seconds)
            made.add(known[item])
            left.append(item)
            ahead = sum(known[other].priority == priority for other in left)
            # Each turn of a priority takes its oldest entry, at the latest after MAX_SKIPPED batches and one turn of
            # each other priority.
            due[item] = turn + ahead * (MAX_SKIPPED + len(Priority))
        if drop and left:
            made.discard(known[left.pop(len(left) // 2)])
        take(running)
        turn += take([])  # a worker is free
        assert all(turn <= due[item] for item in left if known[item].priority != CORRECTION)
    while left:
        assert take([])
