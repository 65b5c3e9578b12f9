from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from edge.capture.connection import Gone, Inlet, Said, Step
from tests.support import wait_until


class Line:
    """A connection that counts, and gives what was sent while it is not paused, as a listener does."""

    def __init__(self) -> None:
        self.paused = False

    async def send(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...

    @property
    def ready(self) -> bool:
        return True

    def offer(self, text: str) -> bool:
        raise NotImplementedError

    def pause(self) -> None:
        assert not self.paused
        self.paused = True

    def resume(self) -> None:
        assert self.paused
        self.paused = False

    def await_bytes(self, count: int) -> None:
        raise NotImplementedError


class Taker:
    """Takes what it is given; whatever is in `slow` has to be awaited until `go_on`."""

    def __init__(self, slow: set[Said] = frozenset()) -> None:  # type: ignore[assignment]
        self.taken: list[Said] = []
        self.waits: list[asyncio.Event] = []
        self._slow = slow

    def __call__(self, said: Said) -> Step | None:
        self.taken.append(said)
        if said not in self._slow:
            return None
        self.waits.append(asyncio.Event())
        return self.waits[-1].wait()

    def go_on(self) -> None:
        self.waits[-1].set()


async def test_what_comes_before_anyone_takes_it_waits() -> None:
    line, taker = Line(), Taker()
    inlet = Inlet(line)
    inlet.hear("a")
    assert line.paused
    inlet.hear(b"b")
    assert taker.taken == []
    inlet.open(taker)
    assert taker.taken == ["a", b"b"]
    assert not line.paused
    inlet.hear("c")
    assert taker.taken == ["a", b"b", "c"]
    assert (line.paused, inlet.busy) == (False, False)


async def test_behind_what_has_to_be_awaited_all_waits_in_order() -> None:
    line, taker = Line(), Taker({"b", "d"})
    inlet = Inlet(line)
    inlet.open(taker)
    for said in "ab":
        inlet.hear(said)
    assert inlet.busy
    assert not line.paused, "as long as nothing waits"
    for said in "cde":
        inlet.hear(said)
    inlet.leave(1000)
    assert (taker.taken, line.paused) == (["a", "b"], True)
    assert inlet.gone.is_set(), "although it has not been taken"
    taker.go_on()
    await wait_until(lambda: len(taker.taken) == 4, description="it goes on")
    assert (taker.taken, line.paused, inlet.busy) == (["a", "b", "c", "d"], True, True)
    taker.go_on()
    await wait_until(lambda: not inlet.busy, description="all is taken")
    assert (taker.taken, line.paused) == (["a", "b", "c", "d", "e", Gone(1000)], False)


async def test_a_client_leaves_once() -> None:
    taker = Taker()
    inlet = Inlet(Line())
    inlet.open(taker)
    inlet.leave(1001)
    inlet.leave(1006)
    assert taker.taken == [Gone(1001)]


async def test_a_client_that_has_left_without_a_word_is_known() -> None:
    silent, talker = Inlet(Line()), Inlet(Line())
    assert not silent.deserted
    silent.leave(1006)
    assert silent.deserted
    talker.hear("a")
    talker.leave(1006)
    assert not talker.deserted
    assert talker.gone.is_set()


async def test_what_is_closed_takes_nothing_and_is_read() -> None:
    line, taker = Line(), Taker({"a"})
    inlet = Inlet(line)
    inlet.open(taker)
    for said in "abc":
        inlet.hear(said)
    inlet.close()
    taker.go_on()
    await wait_until(lambda: not inlet.busy, description="the step is over")
    inlet.hear("d")
    assert (taker.taken, line.paused) == (["a"], False)


async def test_what_stops_gives_up_what_it_waits_for() -> None:
    line, taker = Line(), Taker({"a"})
    inlet = Inlet(line)
    inlet.open(taker)
    for said in "ab":
        inlet.hear(said)
    await inlet.stop()
    await wait_until(lambda: not inlet.busy, description="the step is over")
    assert (taker.taken, line.paused) == (["a"], False)


@given(st.lists(st.sampled_from(["slow", "fast", "go on"]), max_size=30), st.integers(0, 5))
def test_whatever_has_to_be_awaited_nothing_is_lost_or_overtaken(steps: list[str], opened: int) -> None:
    async def play() -> None:
        said = [f"{step} {number}" for number, step in enumerate(steps) if step != "go on"]
        taker = Taker({one for one in said if one.startswith("slow")})
        line = Line()
        inlet, heard = Inlet(line), iter(said)
        for number, step in enumerate(steps):
            if number == opened:
                inlet.open(taker)
            if step != "go on":
                inlet.hear(next(heard))
            elif inlet.busy:
                taker.go_on()
                await asyncio.sleep(0)
            assert taker.taken == said[: len(taker.taken)]
        if len(steps) <= opened:
            inlet.open(taker)
        while inlet.busy:
            taker.go_on()
            await asyncio.sleep(0)
        assert taker.taken == said
        assert not line.paused

    asyncio.run(play())
