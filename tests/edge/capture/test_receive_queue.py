from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from edge.capture.receive_queue import Disconnected, Incoming, Pending, ReceiveQueue
from tests.support import wait_until


class FakeConnection:
    """A connection that is paused and resumed in turn."""

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


class Receiver:
    """Handles messages; those in `slow` are pending until `go_on`."""

    def __init__(self, slow: set[Incoming] = frozenset()) -> None:  # type: ignore[assignment]
        self.handled: list[Incoming] = []
        self.waits: list[asyncio.Event] = []
        self._slow = slow

    def __call__(self, message: Incoming) -> Pending | None:
        self.handled.append(message)
        if message not in self._slow:
            return None
        self.waits.append(asyncio.Event())
        return self.waits[-1].wait()

    def go_on(self) -> None:
        self.waits[-1].set()


async def test_messages_wait_until_there_is_a_handler() -> None:
    connection, receiver = FakeConnection(), Receiver()
    queue = ReceiveQueue(connection)
    queue.put("a")
    assert connection.paused
    queue.put(b"b")
    assert receiver.handled == []
    queue.open(receiver)
    assert receiver.handled == ["a", b"b"]
    assert not connection.paused
    queue.put("c")
    assert receiver.handled == ["a", b"b", "c"]
    assert (connection.paused, queue.busy) == (False, False)


async def test_messages_wait_in_order_behind_a_pending_one() -> None:
    connection, receiver = FakeConnection(), Receiver({"b", "d"})
    queue = ReceiveQueue(connection)
    queue.open(receiver)
    for said in "ab":
        queue.put(said)
    assert queue.busy
    assert not connection.paused, "as long as nothing waits"
    for said in "cde":
        queue.put(said)
    queue.disconnect(1000)
    assert (receiver.handled, connection.paused) == (["a", "b"], True)
    assert queue.disconnected.is_set(), "although it still waits"
    receiver.go_on()
    await wait_until(lambda: len(receiver.handled) == 4, description="the next ones are handled")
    assert (receiver.handled, connection.paused, queue.busy) == (["a", "b", "c", "d"], True, True)
    receiver.go_on()
    await wait_until(lambda: not queue.busy, description="all are handled")
    assert (receiver.handled, connection.paused) == (["a", "b", "c", "d", "e", Disconnected(1000)], False)


async def test_only_the_first_disconnect_counts() -> None:
    receiver = Receiver()
    queue = ReceiveQueue(FakeConnection())
    queue.open(receiver)
    queue.disconnect(1001)
    queue.disconnect(1006)
    assert receiver.handled == [Disconnected(1001)]


async def test_a_client_that_left_without_a_message_is_known() -> None:
    silent, talker = ReceiveQueue(FakeConnection()), ReceiveQueue(FakeConnection())
    assert not silent.left_nothing
    silent.disconnect(1006)
    assert silent.left_nothing
    talker.put("a")
    talker.disconnect(1006)
    assert not talker.left_nothing
    assert talker.disconnected.is_set()


async def test_after_discard_messages_are_ignored_and_the_connection_is_read() -> None:
    connection, receiver = FakeConnection(), Receiver({"a"})
    queue = ReceiveQueue(connection)
    queue.open(receiver)
    for said in "abc":
        queue.put(said)
    queue.discard()
    receiver.go_on()
    await wait_until(lambda: not queue.busy, description="nothing is pending")
    queue.put("d")
    assert (receiver.handled, connection.paused) == (["a"], False)


async def test_stop_cancels_what_is_pending() -> None:
    connection, receiver = FakeConnection(), Receiver({"a"})
    queue = ReceiveQueue(connection)
    queue.open(receiver)
    for said in "ab":
        queue.put(said)
    await queue.stop()
    await wait_until(lambda: not queue.busy, description="nothing is pending")
    assert (receiver.handled, connection.paused) == (["a"], False)


@given(st.lists(st.sampled_from(["slow", "fast", "go on"]), max_size=30), st.integers(0, 5))
def test_messages_are_never_lost_or_reordered(steps: list[str], opened: int) -> None:
    async def play() -> None:
        said = [f"{step} {number}" for number, step in enumerate(steps) if step != "go on"]
        receiver = Receiver({one for one in said if one.startswith("slow")})
        connection = FakeConnection()
        queue, heard = ReceiveQueue(connection), iter(said)
        for number, step in enumerate(steps):
            if number == opened:
                queue.open(receiver)
            if step != "go on":
                queue.put(next(heard))
            elif queue.busy:
                receiver.go_on()
                await asyncio.sleep(0)
            assert receiver.handled == said[: len(receiver.handled)]
        if len(steps) <= opened:
            queue.open(receiver)
        while queue.busy:
            receiver.go_on()
            await asyncio.sleep(0)
        assert receiver.handled == said
        assert not connection.paused

    asyncio.run(play())
