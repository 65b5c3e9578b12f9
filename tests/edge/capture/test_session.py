from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contract import Partial, Speaking
from contract.socket import SocketMessage, SocketPartial, SocketSpeechStarted
from edge.capture.session import InterimResults


def speaking(index: int, start: int = 16_000, *, first: bool = True) -> Speaking:
    return Speaking(job="a", index=index, start=start, end=start + 1_600, first=first)


def partial(index: int, end: int, text: str = "good mor", stable: int = 4) -> Partial:
    return Partial(job="a", index=index, start=16_000 * (index + 1), end=end, text=text, stable=stable)


def rest(interim: InterimResults) -> list[SocketMessage]:
    return list(iter(interim.next, None))


def test_a_segment_begins_and_grows() -> None:
    interim = InterimResults(set())
    interim.update(speaking(0))
    assert rest(interim) == [SocketSpeechStarted(start=1.0)]
    interim.update(partial(0, 24_000))
    assert rest(interim) == [SocketPartial(start=1.0, text="good mor", stable=4)]
    assert rest(interim) == []


def test_a_slow_client_gets_only_the_newest() -> None:
    interim = InterimResults(set())
    interim.update(speaking(0))
    for end in (24_000, 32_000, 40_000):
        interim.update(partial(0, end, f"up to {end}", 0))
    assert rest(interim) == [SocketSpeechStarted(start=1.0), SocketPartial(start=1.0, text="up to 40000", stable=0)]
    interim.update(partial(0, 48_000))
    interim.update(speaking(1, 64_000))
    assert rest(interim) == [SocketSpeechStarted(start=4.0)]


def test_the_start_of_a_segment_is_sent_once() -> None:
    interim = InterimResults(set())
    for one in (speaking(3, first=False), speaking(3), speaking(3, first=False)):
        interim.update(one)
    assert len(rest(interim)) == 1
    interim.update(speaking(3))
    assert rest(interim) == []


def test_older_results_are_ignored() -> None:
    interim = InterimResults(set())
    interim.update(partial(2, 40_000))
    assert len(rest(interim)) == 1
    for late in (partial(2, 40_000, "again"), partial(2, 30_000), partial(1, 90_000), speaking(1)):
        interim.update(late)
    assert rest(interim) == []
    interim.update(speaking(3))
    interim.update(partial(2, 50_000))
    assert [reply.type for reply in rest(interim)] == ["speech_started"]


def test_nothing_is_sent_of_a_segment_that_is_final() -> None:
    finals: set[int] = set()
    interim = InterimResults(finals)
    interim.update(speaking(0))
    interim.update(partial(0, 24_000))
    finals.add(0)
    assert rest(interim) == []
    interim.update(partial(0, 32_000))
    interim.update(speaking(0))
    assert rest(interim) == []


def test_stable_is_never_more_than_there_is() -> None:
    interim = InterimResults(set())
    interim.update(partial(0, 24_000, "good", 9))
    assert rest(interim) == [SocketPartial(start=1.0, text="good", stable=4)]


indexes = st.integers(0, 4)
news = st.builds(lambda index: speaking(index, 16_000 * (index + 1)), indexes) | st.builds(
    lambda index, end: partial(index, end, str(end), 0), indexes, st.integers(0, 9)
)


@given(st.lists(news | st.integers(0, 4) | st.none(), max_size=40))
def test_a_client_never_sees_a_step_back(steps: list[Speaking | Partial | int | None]) -> None:
    """An integer is a segment that becomes final, None a moment in which the client gets what is due."""
    finals: set[int] = set()
    interim, begun = InterimResults(finals), []
    told: list[tuple[int, int]] = []
    for step in steps:
        if isinstance(step, int):
            finals.add(step)
        elif step is not None:
            interim.update(step)
        else:
            replies = rest(interim)
            assert [reply.type for reply in replies] in (
                [],
                ["speech_started"],
                ["partial"],
                ["speech_started", "partial"],
            )
            begun += [reply.start for reply in replies if isinstance(reply, SocketSpeechStarted)]
            new = [(round(reply.start) - 1, int(reply.text)) for reply in replies if isinstance(reply, SocketPartial)]
            assert not {index for index, _ in new} & finals
            told += new
    assert told == sorted(set(told))
    assert begun == sorted(set(begun))
