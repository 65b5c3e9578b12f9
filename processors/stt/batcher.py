"""Which of the sounds that wait are decoded next, and together. Pure.

There is no waiting for company: whenever the model is free it gets what is there. Rank decides, then age; a rank that
was passed over `PATIENCE` times in a row heads the next batch, so that nothing waits for ever.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE = 8
"""Batches that may go before a rank that waits gets its turn: under lasting overload it has a ninth of them."""


class Rank(IntEnum):
    """What goes first."""

    LIVE = 0
    PARTIAL = 1
    UPLOAD = 2
    REPLAY = 3


@dataclass(frozen=True, eq=False, slots=True)
class Waiting(Generic[T]):
    """Something to be decoded. `group`: only equals share a batch. `cost`: seconds of encoder window."""

    item: T
    rank: Rank
    group: Hashable
    cost: float


class Batcher(Generic[T]):
    """What waits for the model. most_items, most_cost: bounds of a batch; one that alone costs more still goes."""

    def __init__(self, most_items: int, most_cost: float) -> None:
        self.most_items = most_items
        self._most_cost = most_cost
        self._waiting: dict[Rank, dict[int, Waiting[T]]] = {rank: {} for rank in Rank}
        self._passed = dict.fromkeys(Rank, 0)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def count(self, rank: Rank) -> int:
        """How many of a rank wait."""
        return len(self._waiting[rank])

    def add(self, waiting: Waiting[T]) -> None:
        """Take something in, behind what has its rank."""
        self._waiting[waiting.rank][id(waiting)] = waiting

    def discard(self, waiting: Waiting[T]) -> None:
        """Forget something, if it still waits."""
        self._waiting[waiting.rank].pop(id(waiting), None)

    def take(self, free: int = 1) -> list[T]:
        """The next batch, at most a fair share of what waits where `free` workers, 1 or more, could begin now."""
        head = self._head()
        if head is None:
            return []
        together = [waiting for waiting in self._in_order() if waiting.group == head.group and waiting is not head]
        share = min(self.most_items, -(-(len(together) + 1) // free))
        batch, cost = [head], head.cost
        for waiting in together:
            if len(batch) >= share or cost + waiting.cost > self._most_cost:
                break
            batch.append(waiting)
            cost += waiting.cost
        # It is the oldest of a rank whose turn counts: younger ones may keep others company in every batch.
        oldest = {rank: next(iter(there.values()), None) for rank, there in self._waiting.items()}
        for waiting in batch:
            self.discard(waiting)
        for rank, waited in oldest.items():
            self._passed[rank] = 0 if waited is None or waited in batch else self._passed[rank] + 1
        return [waiting.item for waiting in batch]

    def _head(self) -> Waiting[T] | None:
        ranks = [rank for rank in Rank if self._waiting[rank]]
        if not ranks:
            return None
        overdue = [rank for rank in ranks if self._passed[rank] >= PATIENCE]
        return next(iter(self._waiting[max(overdue, key=self._passed.__getitem__) if overdue else ranks[0]].values()))

    def _in_order(self) -> Iterator[Waiting[T]]:
        for rank in Rank:
            yield from self._waiting[rank].values()
