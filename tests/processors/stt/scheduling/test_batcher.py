"""What is decoded next, and together."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from processors.stt.scheduling.batcher import MAX_SKIPPED, Batcher, Entry, Priority

LIVE, PARTIAL, UPLOAD, REPLAY = Priority


def waiting(item: object, priority: Priority = LIVE, group: str = "a", cost: float = 1.0) -> Entry[object]:
    return Entry(item, priority, group, cost)


def batcher(*items: Entry[object], max_items: int = 8, max_cost: float = 100.0) -> Batcher[object]:
    made: Batcher[object] = Batcher(max_items, max_cost)
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


def test_a_batch_has_one_group_in_order_of_priority_and_age() -> None:
    made = batcher(
        waiting("u", UPLOAD), waiting("l1"), waiting("other", LIVE, "b"), waiting("p", PARTIAL), waiting("l2")
    )
    assert taken(made) == [["l1", "l2", "p", "u"], ["other"]]


def test_a_batch_has_at_most_max_items() -> None:
    assert taken(batcher(*map(waiting, range(7)), max_items=3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_batch_has_at_most_max_cost_unless_it_is_a_single_entry() -> None:
    costs = [30, 30, 30, 90, 1]
    made = batcher(*(waiting(index, cost=cost) for index, cost in enumerate(costs)), max_cost=60)
    assert taken(made) == [[0, 1], [2], [3], [4]]


def test_free_workers_share_a_group() -> None:
    made = batcher(*map(waiting, range(7)), waiting("other", group="b"))
    assert made.take(3) == [0, 1, 2]
    assert made.take(2) == [3, 4]
    assert made.take(1) == [5, 6]
    assert made.take(2) == ["other"]


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


def test_an_entry_of_another_group_is_not_starved_by_its_own_priority() -> None:
    """Uploads of the live group fill up every batch; an upload of another group must not wait for their end."""
    made = batcher(waiting("unlike", UPLOAD, "b"), max_items=2)
    batches = []
    for number in range(2 * MAX_SKIPPED):
        made.add(waiting(("live", number), LIVE))
        made.add(waiting(("upload", number), UPLOAD))
        batches.append(made.take())
    assert batches.index(["unlike"]) == MAX_SKIPPED
    assert batches[0] == [("live", 0), ("upload", 0)]


kinds = st.lists(st.tuples(st.sampled_from(Priority), st.sampled_from("abc"), st.floats(0.5, 40)), max_size=4)
steps = st.lists(st.tuples(kinds, st.integers(1, 4), st.booleans()), max_size=30)


@given(steps.flatmap(lambda first: steps.map(lambda again: first + 5 * again)), st.integers(1, 5), st.floats(10, 60))
def test_everything_is_taken_once_and_in_bounded_time_in_valid_batches(
    steps: list[tuple[list[tuple[Priority, str, float]], int, bool]], max_items: int, max_cost: float
) -> None:
    made: Batcher[object] = Batcher(max_items, max_cost)
    known: dict[object, Entry[object]] = {}
    due: dict[object, int] = {}
    left: list[object] = []  # those that wait, oldest first

    def take(turn: int, free: int) -> None:
        before = list(left)
        batch = made.take(free)
        assert bool(batch) == bool(before)
        assert len(set(batch)) == len(batch)
        assert set(batch) <= set(before)  # nothing twice, nothing that was discarded
        for item in batch:
            left.remove(item)
            assert turn <= due[item]
        alike = [known[item] for item in batch]
        assert len({item.group for item in alike}) <= 1
        assert len(batch) == 1 or sum(item.cost for item in alike) <= max_cost
        if batch:
            like = sum(known[item].group == alike[0].group for item in before)
            assert len(batch) <= min(max_items, -(-like // free))
            assert _oldest_of_its_rank(alike[0], (known[item] for item in before))
        assert len(made) == len(left)

    turn = 0
    for arrivals, free, drop in steps:
        for priority, group, cost in arrivals:
            item = len(known)
            known[item] = Entry(item, priority, group, cost)
            made.add(known[item])
            left.append(item)
            ahead = sum(known[other].priority == priority for other in left)
            # Each turn of a priority takes its oldest entry, at the latest after MAX_SKIPPED batches and one turn of
            # each other priority.
            due[item] = turn + ahead * (MAX_SKIPPED + len(Priority))
        if drop and left:
            made.discard(known[left.pop(len(left) // 2)])
        take(turn, free)
        turn += 1
    while left:
        take(turn, 1)
        turn += 1


def _oldest_of_its_rank(one: Entry[object], others: Iterable[Entry[object]]) -> bool:
    return next(other for other in others if other.priority == one.priority) is one
