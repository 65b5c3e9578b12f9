from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contract import Partial, Speaking
from edge.capture.interim import Interim


def speaking(index: int, start: int = 16_000, *, first: bool = True) -> Speaking:
    return Speaking(job="a", index=index, start=start, end=start + 1_600, first=first)


def partial(index: int, end: int, text: str = "good mor", stable: int = 4) -> Partial:
    return Partial(job="a", index=index, start=16_000 * (index + 1), end=end, text=text, stable=stable)


def rest(interim: Interim) -> list[dict[str, Any]]:
    return list(iter(interim.next, None))


def test_a_segment_begins_and_grows() -> None:
    interim = Interim(set())
    interim.take(speaking(0))
    assert rest(interim) == [{"type": "speech_started", "start": 1.0}]
    interim.take(partial(0, 24_000))
    assert rest(interim) == [{"type": "partial", "start": 1.0, "text": "good mor", "stable": 4}]
    assert rest(interim) == []


def test_a_slow_connection_is_told_only_the_newest() -> None:
    interim = Interim(set())
    interim.take(speaking(0))
    for end in (24_000, 32_000, 40_000):
        interim.take(partial(0, end, f"up to {end}", 0))
    assert [reply.get("text") for reply in rest(interim)] == [None, "up to 40000"]
    interim.take(partial(0, 48_000))
    interim.take(speaking(1, 64_000))
    assert rest(interim) == [{"type": "speech_started", "start": 4.0}]


def test_that_a_segment_began_is_told_once_by_whatever_is_heard_first() -> None:
    interim = Interim(set())
    for one in (speaking(3, first=False), speaking(3), speaking(3, first=False)):
        interim.take(one)
    assert len(rest(interim)) == 1
    interim.take(speaking(3))
    assert rest(interim) == []


def test_what_is_older_than_what_is_known_is_passed_over() -> None:
    interim = Interim(set())
    interim.take(partial(2, 40_000))
    assert len(rest(interim)) == 1
    for late in (partial(2, 40_000, "again"), partial(2, 30_000), partial(1, 90_000), speaking(1)):
        interim.take(late)
    assert rest(interim) == []
    interim.take(speaking(3))
    interim.take(partial(2, 50_000))
    assert [reply["type"] for reply in rest(interim)] == ["speech_started"]


def test_what_is_final_is_not_told_of_even_if_it_was_waiting() -> None:
    finals: set[int] = set()
    interim = Interim(finals)
    interim.take(speaking(0))
    interim.take(partial(0, 24_000))
    finals.add(0)
    assert rest(interim) == []
    interim.take(partial(0, 32_000))
    interim.take(speaking(0))
    assert rest(interim) == []


def test_stable_is_never_more_than_there_is() -> None:
    interim = Interim(set())
    interim.take(partial(0, 24_000, "good", 9))
    assert rest(interim)[0]["stable"] == 4


indexes = st.integers(0, 4)
news = st.builds(lambda index: speaking(index, 16_000 * (index + 1)), indexes) | st.builds(
    lambda index, end: partial(index, end, str(end), 0), indexes, st.integers(0, 9)
)


@given(st.lists(news | st.integers(0, 4) | st.none(), max_size=40))
def test_whatever_comes_the_client_sees_it_go_forward(steps: list[Speaking | Partial | int | None]) -> None:
    """An integer is a segment that becomes final, None a moment in which the client is told what there is."""
    finals: set[int] = set()
    interim, begun = Interim(finals), []
    told: list[tuple[int, int]] = []
    for step in steps:
        if isinstance(step, int):
            finals.add(step)
        elif step is not None:
            interim.take(step)
        else:
            replies = rest(interim)
            assert [reply["type"] for reply in replies] in (
                [],
                ["speech_started"],
                ["partial"],
                ["speech_started", "partial"],
            )
            begun += [reply["start"] for reply in replies if reply["type"] == "speech_started"]
            new = [(round(reply["start"]) - 1, int(reply["text"])) for reply in replies if reply["type"] == "partial"]
            assert not {index for index, _ in new} & finals
            told += new
    assert told == sorted(set(told))
    assert begun == sorted(set(begun))
