"""Which of the waiting utterances are decoded next, and together. Pure.

Nothing waits for a batch to fill up: whenever the model is free it takes what is there. Priority decides first, then
age. A priority that was passed over `MAX_SKIPPED` times in a row heads the next batch, so that nothing starves.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_SKIPPED = 8
"""Batches in a row that may pass over a waiting priority: under lasting overload it gets one batch in nine."""


class Priority(IntEnum):
    """Lower values go first."""

    LIVE = 0
    PARTIAL = 1
    UPLOAD = 2
    REPLAY = 3


@dataclass(frozen=True, eq=False, slots=True)
class Entry(Generic[T]):
    """Something to decode. `group`: only entries of equal groups share a batch. `cost`: seconds of encoder window."""

    item: T
    priority: Priority
    group: Hashable
    cost: float


class Batcher(Generic[T]):
    """The queue in front of the model. max_items, max_cost: limits of a batch; a single entry may exceed max_cost."""

    def __init__(self, max_items: int, max_cost: float) -> None:
        self.max_items = max_items
        self._max_cost = max_cost
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

    def take(self, free: int = 1) -> list[T]:
        """Remove and return the next batch; [] if nothing waits.

        free: workers that could start a batch now, at least 1. They share what waits, so that none stays idle.
        """
        head = self._head()
        if head is None:
            return []
        others = [entry for entry in self._in_order() if entry.group == head.group and entry is not head]
        share = min(self.max_items, -(-(len(others) + 1) // free))
        batch, cost = [head], head.cost
        for entry in others:
            if len(batch) >= share or cost + entry.cost > self._max_cost:
                break
            batch.append(entry)
            cost += entry.cost
        # A priority was served only if its oldest entry is in the batch: younger ones may join every batch of their
        # group while the oldest one waits.
        oldest = {priority: next(iter(queue.values()), None) for priority, queue in self._waiting.items()}
        for entry in batch:
            self.discard(entry)
        for priority, first in oldest.items():
            self._skipped[priority] = 0 if first is None or first in batch else self._skipped[priority] + 1
        return [entry.item for entry in batch]

    def _head(self) -> Entry[T] | None:
        waiting = [priority for priority in Priority if self._waiting[priority]]
        if not waiting:
            return None
        overdue = [priority for priority in waiting if self._skipped[priority] >= MAX_SKIPPED]
        priority = max(overdue, key=self._skipped.__getitem__) if overdue else waiting[0]
        return next(iter(self._waiting[priority].values()))

    def _in_order(self) -> Iterator[Entry[T]]:
        for priority in Priority:
            yield from self._waiting[priority].values()
