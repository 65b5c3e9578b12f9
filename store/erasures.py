"""Jobs that were erased: what is left of their records, and when the bus is to be swept after them.

What is left is a tombstone: `state` deleted, `deleted_at`, `settled` (1: nobody was at work on the job any more) and
`sweeps`, how many have passed. Sweeps are lent: whoever takes one and dies leaves it to another.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from store import scripts
from store.server import Server, iso_now, now_ms

_LENT = 60_000
"""Milliseconds after which a sweep that nobody has reported is taken by another."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of an erased job."""

    job: str
    deleted_at: datetime
    settled: bool
    sweeps: int


class Erasures:
    """The erased jobs of one store. Raises StoreError while Redis is away."""

    def __init__(self, server: Server, lifetime: int) -> None:
        """Keep tombstones for `lifetime` ms: for as long as somebody late could still write the job's record."""
        self._server = server
        self._redis = server.redis
        self._lifetime = lifetime
        self._erase = server.redis.register_script(scripts.ERASE)
        self._due = server.redis.register_script(scripts.DUE)
        self._swept = server.redis.register_script(scripts.SWEPT)

    async def erase(self, job_id: str, *, settled: bool, sweep_after: float) -> None:
        """Put a tombstone in the place of a record, if it has one, and have it swept after so many seconds.

        Harmless to repeat: `deleted_at` and `settled` stay, the sweeps begin anew.
        """
        now = now_ms()
        args: list[str | int] = [job_id, now, self._lifetime, iso_now(), now + round(sweep_after * 1000), int(settled)]
        await self._server.ask(self._erase(keys=scripts.index_keys(job_id), args=args))

    async def get(self, job_id: str) -> Tombstone | None:
        """What is left of a job; None for one that was not erased."""
        names = ["state", "deleted_at", "settled", "sweeps"]
        reading = cast("Awaitable[list[str | None]]", self._redis.hmget(scripts.RECORD + job_id, names))
        state, deleted_at, settled, sweeps = await self._server.ask(reading)
        if state != "deleted" or deleted_at is None:
            return None
        return Tombstone(job_id, datetime.fromisoformat(deleted_at), settled == "1", int(sweeps or 0))

    async def due(self, most: int = 16) -> list[Tombstone]:
        """Take sweeps that are due; whoever has one says `swept`, within a minute."""
        now = now_ms()
        jobs = await self._server.ask(self._due(keys=[scripts.ERASURES], args=[now, now + _LENT, most]))
        found = []
        for job in jobs:
            tombstone = await self.get(job)
            if tombstone is None:  # it has expired
                await self.swept(job, 0, None)
            else:
                found.append(tombstone)
        return found

    async def swept(self, job_id: str, sweeps: int, again_after: float | None) -> None:
        """Note how many sweeps have passed, and when the next one is due, in seconds; None: that was the last."""
        due: str | int = "" if again_after is None else now_ms() + round(again_after * 1000)
        await self._server.ask(
            self._swept(keys=[scripts.RECORD + job_id, scripts.ERASURES], args=[job_id, sweeps, due])
        )
