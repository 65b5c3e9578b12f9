"""Whose turn it is to call the model. A batch is a sequence of calls, and its thread waits here before each of them.

So an urgent batch does not wait until a less urgent one has been decoded: that one pauses between two calls, and loses
no work. A thread that has a turn waits for nothing, so that there is always one that goes on.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass

from processors.stt.scheduling.batcher import MAX_SKIPPED, Priority


class Abandoned(Exception):
    """Nobody waits for the results of this batch any more."""


class Turns:
    """Turns at a model that runs `workers` calls at the same time.

    Only the `workers` most urgent batches in progress get turns, even between two calls of theirs; of equally urgent
    ones the oldest. But a batch that has waited for `MAX_SKIPPED` calls of others gets the next turn, so that under
    lasting overload it gets one call in nine, unless it is a correction.
    oversubscribed: calls at the same time share cores, so that a batch also waits while a more urgent one is in
    progress.
    """

    def __init__(self, workers: int, oversubscribed: bool = False) -> None:
        self._workers = workers
        self._oversubscribed = oversubscribed
        self._calls = 0
        self._in_progress: set[Turn] = set()
        self._changed = threading.Condition()
        self._numbers = itertools.count()

    @property
    def waiting(self) -> int:
        """How many batches wait for a turn."""
        return sum(turn.is_waiting for turn in self._in_progress)

    def begin(self, priority: Priority, is_abandoned: Callable[[], bool]) -> Turn:
        """What a new batch enters for each call, until `end`.

        is_abandoned: called from its thread while that waits; once it is true, entering raises Abandoned.
        """
        turn = Turn(self, priority, next(self._numbers), is_abandoned)
        with self._changed:
            self._in_progress.add(turn)
        return turn

    def end(self, turn: Turn) -> None:
        """The batch makes no more calls."""
        with self._changed:
            self._in_progress.discard(turn)
            self._changed.notify_all()

    def raise_priority(self, turn: Turn, priority: Priority) -> None:
        """Make a batch in progress more urgent."""
        with self._changed:
            turn.priority = priority
            self._changed.notify_all()

    def wake(self) -> None:
        """Let a batch that waits notice that it has been abandoned."""
        with self._changed:
            self._changed.notify_all()

    def _take(self, turn: Turn) -> None:
        with self._changed:
            turn.is_waiting = True
            self._changed.wait_for(lambda: turn.is_abandoned() or self._is_next(turn))
            turn.is_waiting = False
            if turn.is_abandoned():
                raise Abandoned
            self._calls += 1
            turn.skipped = 0
            for other in self._in_progress:
                other.skipped += other.is_waiting
            self._changed.notify_all()  # another worker may be free, and another batch overdue

    def _give_back(self) -> None:
        with self._changed:
            self._calls -= 1
            self._changed.notify_all()

    def _is_next(self, turn: Turn) -> bool:
        if self._calls == self._workers:
            return False
        first = heapq.nsmallest(self._workers, self._in_progress, key=Turn.order)
        if self._oversubscribed:
            first = [other for other in first if other.order()[:2] == first[0].order()[:2]]
        return turn in first


@dataclass(eq=False, slots=True)
class Turn:
    """A context that a batch enters for each call of the model; entering blocks until it may."""

    turns: Turns
    priority: Priority
    number: int
    is_abandoned: Callable[[], bool]
    is_waiting: bool = False
    skipped: int = 0

    def order(self) -> tuple[bool, int, int]:
        """Lower ones go first."""
        overdue = self.skipped >= MAX_SKIPPED and self.priority is not Priority.CORRECTION
        return not overdue, self.priority, self.number

    def __enter__(self) -> None:
        self.turns._take(self)

    def __exit__(self, *_: object) -> None:
        self.turns._give_back()
