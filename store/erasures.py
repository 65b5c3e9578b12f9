"""Erased jobs: their tombstones, and when to sweep the bus for what late writers may still have published.

A tombstone takes the place of the record: `state` deleted, `deleted_at`, `settled` (1: no worker was busy with the job
any more) and `sweeps`, the number of sweeps so far. An edge that claims a sweep has a minute to report it; after that,
for the edge may have died, another one can claim it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from store import scripts
from store.server import Server, iso_now, now_ms

_CLAIM_MS = 60_000
"""How long a claimed sweep belongs to its claimant."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What remains of an erased job."""

    job: str
    deleted_at: datetime
    settled: bool
    sweeps: int


class Erasures:
    """The erased jobs of one store. Raises StoreError while Redis is away."""

    def __init__(self, server: Server, lifetime: int) -> None:
        """Keep tombstones for `lifetime` ms: as long as a late writer could still write the job's record."""
        self._server = server
        self._redis = server.redis
        self._lifetime = lifetime
        self._erase = server.redis.register_script(scripts.ERASE)
        self._claim = server.redis.register_script(scripts.CLAIM)
        self._swept = server.redis.register_script(scripts.SWEPT)

    async def erase(self, job_id: str, *, settled: bool, sweep_after: float) -> None:
        """Replace a job's record, if there is one, by a tombstone; the first sweep is due after `sweep_after` seconds.

        Harmless to repeat: `deleted_at` and `settled` stay, and the sweeps start again.
        """
        now = now_ms()
        args: list[str | int] = [job_id, now, self._lifetime, iso_now(), now + round(sweep_after * 1000), int(settled)]
        await self._server.call(self._erase(keys=scripts.index_keys(job_id), args=args))

    async def get(self, job_id: str) -> Tombstone | None:
        """The tombstone of a job; None for one that was not erased."""
        names = ["state", "deleted_at", "settled", "sweeps"]
        reading = cast("Awaitable[list[str | None]]", self._redis.hmget(scripts.RECORD + job_id, names))
        state, deleted_at, settled, sweeps = await self._server.call(reading)
        if state != "deleted" or deleted_at is None:
            return None
        return Tombstone(job_id, datetime.fromisoformat(deleted_at), settled == "1", int(sweeps or 0))

    async def claim_due(self, most: int = 16) -> list[Tombstone]:
        """Claim sweeps that are due. The claimant reports each with `swept`, within a minute."""
        now = now_ms()
        jobs = await self._server.call(self._claim(keys=[scripts.ERASURES], args=[now, now + _CLAIM_MS, most]))
        found = []
        for job in jobs:
            tombstone = await self.get(job)
            if tombstone is None:  # it has expired
                await self.swept(job, 0, None)
            else:
                found.append(tombstone)
        return found

    async def swept(self, job_id: str, sweeps: int, next_after: float | None) -> None:
        """Report how many sweeps are done, and in how many seconds the next one is due; None: it was the last."""
        due: str | int = "" if next_after is None else now_ms() + round(next_after * 1000)
        await self._server.call(
            self._swept(keys=[scripts.RECORD + job_id, scripts.ERASURES], args=[job_id, sweeps, due])
        )
