from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from contract import JobOptions, State, Summary, Transcript
from store import erasures, scripts
from store.jobs import JobExists, JobStore, connect


async def finish(store: JobStore, job: str) -> State:
    transcripts = [Transcript(job=job, index=0, start=0, end=1, text="secret")]
    return await store.finish(
        job,
        options=JobOptions(title="secret"),
        samples=1,
        transcripts=transcripts,
        summary=Summary(job=job, title="secret", summary="secret", engine="none"),
    )


async def test_an_erased_job_is_gone_and_stays_gone(store: JobStore, redis: Redis) -> None:
    await finish(store, "a")
    await store.cache("a", "peaks", "secret")
    await store.erasures.erase("a", settled=True, sweep_after=60)
    assert await store.get("a") is None
    assert (await store.listing.page(5)).entries == []
    assert await redis.zcard(scripts.BY_EXPIRY) == 0

    assert await store.advance("a", "transcribing") == "deleted"
    assert await finish(store, "a") == "deleted"
    await store.cache("a", "peaks", "secret")
    with pytest.raises(JobExists):
        await store.create("a", JobOptions())
    assert await store.get("a") is None
    assert set(await redis.hgetall("stenobus:job:a")) == {"state", "updated_at", "deleted_at", "settled", "sweeps"}


async def test_a_tombstone_says_when_the_job_was_erased(store: JobStore) -> None:
    await store.create("a", JobOptions())
    assert await store.erasures.get("a") is None
    assert await store.erasures.get("nobody") is None
    await store.erasures.erase("a", settled=False, sweep_after=60)
    first = await store.erasures.get("a")
    assert first is not None
    assert (first.job, first.settled, first.sweeps) == ("a", False, 0)
    await store.erasures.erase("a", settled=True, sweep_after=60)
    assert await store.erasures.get("a") == first


async def test_a_job_that_redis_does_not_know_can_be_erased(store: JobStore) -> None:
    await store.erasures.erase("lost", settled=False, sweep_after=60)
    assert await finish(store, "lost") == "deleted"


async def test_a_tombstone_outlives_a_short_retention(redis_url: str, redis: Redis) -> None:
    async with connect(redis_url, retention=0.05) as brief:
        await brief.erasures.erase("a", settled=True, sweep_after=60)
        assert await redis.pttl("stenobus:job:a") > 3_600_000
        assert await brief.advance("a", "streaming") == "deleted"
        assert await redis.pttl("stenobus:job:a") > 3_600_000


async def test_a_sweep_that_is_due_is_claimed_once(store: JobStore) -> None:
    await store.erasures.erase("later", settled=True, sweep_after=60)
    for job in ("a", "b", "c"):
        await store.erasures.erase(job, settled=True, sweep_after=-1)
    taken = await asyncio.gather(*(store.erasures.claim_due(most=2) for _ in range(4)))
    assert sorted(found.job for claimed in taken for found in claimed) == ["a", "b", "c"]
    assert max(map(len, taken)) == 2


async def test_a_sweep_that_is_not_reported_can_be_claimed_again(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_CLAIM_MS", -1)
    await store.erasures.erase("a", settled=True, sweep_after=-1)
    assert [found.job for found in await store.erasures.claim_due()] == ["a"]
    assert [found.job for found in await store.erasures.claim_due()] == ["a"]


async def test_sweeps_go_on_until_the_last(store: JobStore, redis: Redis) -> None:
    await store.erasures.erase("a", settled=True, sweep_after=-1)
    await store.erasures.claim_due()
    await store.erasures.swept("a", 1, -1)
    assert [found.sweeps for found in await store.erasures.claim_due()] == [1]
    await store.erasures.swept("a", 2, None)
    assert await store.erasures.claim_due() == []
    assert await redis.zcard(scripts.ERASURES) == 0
    assert await store.erasures.get("a") is not None


async def test_sweeps_end_with_their_tombstone(store: JobStore, redis: Redis) -> None:
    await store.erasures.erase("a", settled=True, sweep_after=-1)
    await redis.delete("stenobus:job:a")
    assert await store.erasures.claim_due() == []
    assert await redis.zcard(scripts.ERASURES) == 0
    await store.erasures.swept("a", 1, 0.0)
    assert await redis.exists("stenobus:job:a") == 0
