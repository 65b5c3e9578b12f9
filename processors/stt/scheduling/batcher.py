"""Which of the waiting utterances are decoded next, and together. Pure.

Nothing waits for a batch to fill up: whenever the model is free it takes what is there. Priority decides first, then
age. A priority that was passed over `MAX_SKIPPED` times in a row heads the next batch, so that nothing starves.

A batch has one priority: on a CPU the encoder takes as long for two windows as for one twice, so that whatever is less
urgent would delay a final that it joins. And it has similar lengths, because all of it waits for its longest text.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_SKIPPED = 8
"""Batches in a row that may pass over a waiting priority: under lasting overload it gets one batch in nine."""

MAX_RATIO = 2.0
"""An utterance that is more times longer than the oldest one of a batch does not join it."""


class Priority(IntEnum):
    """Lower values go first. Corrections use only a model that has nothing else to do."""

    LIVE = 0
    PARTIAL = 1
    UPLOAD = 2
    REPLAY = 3
    CORRECTION = 4


@dataclass(eq=False, slots=True)
class Entry(Generic[T]):
    """Something to decode. `group`: only entries of equal groups share a batch. `cost`: seconds of encoder window.

    `seconds`: length of its sound.
    """

    item: T
    priority: Priority
    group: Hashable
    cost: float
    seconds: float


class Batcher(Generic[T]):
    """The queue in front of the model.

    max_items, max_cost: limits of a batch; a single entry may exceed max_cost. max_background: in place of max_cost for
    interim results and corrections, because something more urgent waits for a call of theirs. workers: how many batches
    may be in progress that are at least as urgent as the next one. oversubscribed: those share cores, so that interim
    results start only while nothing more urgent is in progress, as corrections always do.
    """

    def __init__(
        self,
        max_items: int,
        max_cost: float,
        workers: int = 1,
        max_background: float | None = None,
        *,
        oversubscribed: bool = False,
    ) -> None:
        self.max_items = max_items
        self._alone = {Priority.PARTIAL, Priority.CORRECTION} if oversubscribed else {Priority.CORRECTION}
        self._max_cost = dict.fromkeys(Priority, max_cost)
        if max_background is not None:
            self._max_cost[Priority.PARTIAL] = self._max_cost[Priority.CORRECTION] = min(max_cost, max_background)
        self._workers = workers
        self._waiting: dict[Priority, dict[int, Entry[T]]] = {priority: {} for priority in Priority}
        self._skipped = dict.fromkeys(Priority, 0)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, entry: Entry[T]) -> None:
        """Append an entry to the queue of its priority."""
        self._waiting[entry.priority][id(entry)] = entry

    def discard(self, entry: Entry[T]) -> None:
        """Remove an entry if it is still waiting."""
        self._waiting[entry.priority].pop(id(entry), None)

    def raise_priority(self, entry: Entry[T], priority: Priority) -> None:
        """Append an entry to another queue if it is still waiting."""
        if self._waiting[entry.priority].pop(id(entry), None) is not None:
            entry.priority = priority
            self.add(entry)

    def free(self, priority: Priority, running: Collection[Priority] = ()) -> int:
        """How many batches of this priority could start. running: the priorities of those in progress.

        Less urgent ones do not count: they pause.
        """
        if priority in self._alone and any(other < priority for other in running):
            return 0
        return max(0, self._workers - sum(other <= priority for other in running))

    def take(self, running: Collection[Priority] = ()) -> list[T]:
        """Remove and return the next batch; [] if none may start. Workers that are free share what waits."""
        head = self._head(running)
        if head is None:
            return []
        alike = [
            entry
            for entry in self._waiting[head.priority].values()
            if entry.group == head.group and entry.seconds <= MAX_RATIO * head.seconds
        ]
        share = min(self.max_items, -(-len(alike) // self.free(head.priority, running)))
        batch: list[Entry[T]] = []
        cost = 0.0
        for entry in alike:
            cost += entry.cost
            if len(batch) == share or (batch and cost > self._max_cost[head.priority]):
                break
            batch.append(entry)
        for entry in batch:
            self.discard(entry)
        for priority, queue in self._waiting.items():
            is_skipped = queue and priority not in (head.priority, Priority.CORRECTION)
            self._skipped[priority] = self._skipped[priority] + 1 if is_skipped else 0
        return [entry.item for entry in batch]

    def _head(self, running: Collection[Priority]) -> Entry[T] | None:
        ready = [priority for priority in Priority if self._waiting[priority] and self.free(priority, running)]
        if not ready:
            return None
        overdue = [priority for priority in ready if self._skipped[priority] >= MAX_SKIPPED]
        priority = max(overdue, key=self._skipped.__getitem__) if overdue else ready[0]
        return next(iter(self._waiting[priority].values()))
