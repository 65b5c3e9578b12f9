from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Collection
from typing import Any

import pytest

from compose.servers import Server
from contract import JobOptions, State, Summary, Transcript
from store import listing, scripts
from store.jobs import JobStore, StoreError, connect
from store.listing import BadCursor, Page
from store.search import Search
from tests.support import wait_until


async def create(store: JobStore, *jobs: str, title: str | None = None) -> None:
    for job in jobs:
        await store.create(job, JobOptions(title=title))


async def finish(store: JobStore, job: str, text: str, title: str = "", said: str = "") -> None:
    await store.finish(
        job,
        options=JobOptions(),
        samples=48_000,
        transcripts=[Transcript(job=job, index=0, start=0, end=48_000, text=text, language="en")],
        summary=Summary(job=job, title=title, summary=said, engine="ollama"),
    )


async def all_pages(
    store: JobStore, limit: int, search: Search | None = None, states: Collection[State] = ()
) -> list[str]:
    jobs: list[str] = []
    cursor = None
    while True:
        page = await store.listing.page(limit, cursor=cursor, search=search, states=states)
        jobs += names(page)
        if page.cursor is None:
            return jobs
        assert page.entries or page.searched
        cursor = page.cursor


def names(page: Page) -> list[str]:
    return [entry.job for entry in page.entries]


async def created_at(redis: Any, job: str, at: str) -> None:
    """Have a job be created at another time."""
    entry = await redis.hget(scripts.RECORD + job, "created_at")
    for key in (scripts.BY_CREATION, scripts.BY_EXPIRY):
        score = await redis.zscore(key, f"{entry}/{job}")
        await redis.zrem(key, f"{entry}/{job}")
        await redis.zadd(key, {f"{at}/{job}": score})
    await redis.hset(scripts.RECORD + job, "created_at", at)


async def test_a_list_may_be_empty(store: JobStore) -> None:
    assert await store.listing.page(10) == Page([], 0, None)


async def test_newest_first_and_each_once_whatever_the_page(store: JobStore) -> None:
    jobs = [f"j{number:02}" for number in range(45)]
    await create(store, *jobs)
    newest = sorted(jobs, reverse=True)  # those of one millisecond by their ids
    for limit in (1, 7, 20, 44, 45, 46):
        assert sorted(await all_pages(store, limit), reverse=True) == newest
    page = await store.listing.page(45)
    times = [entry.created_at for entry in page.entries]
    assert times == sorted(times, reverse=True)
    assert (page.searched, page.cursor) == (45, None)


async def test_a_new_job_does_not_shift_the_next_page(store: JobStore, redis: Any) -> None:
    await create(store, "a", "b", "c", "d")
    for number, job in enumerate("abcd"):
        await created_at(redis, job, f"2026-01-01T00:00:0{number}.000+00:00")
    first = await store.listing.page(2)
    assert names(first) == ["d", "c"]
    await create(store, "e")
    await redis.delete(scripts.RECORD + "c")  # also the one that the cursor names
    await store.listing.page(10)
    second = await store.listing.page(2, cursor=first.cursor)
    assert (names(second), second.cursor) == (["b", "a"], None)


async def test_a_live_job_and_a_finished_one(store: JobStore) -> None:
    await store.create("live", JobOptions(title="Standup", language="ko", source="upload"))
    await finish(store, "done", "Hello there.\nMore.", title="Greetings")
    entries = {entry.job: entry for entry in (await store.listing.page(10)).entries}
    live, done = entries["live"], entries["done"]
    assert (live.state, live.title, live.language, live.source) == ("created", "Standup", "ko", "upload")
    assert (live.samples, live.segments, live.completed_at, live.text) == (None, None, None, "")
    assert (done.state, done.title, done.language, done.source) == ("completed", "Greetings", "en", "live")
    assert (done.samples, done.segments, done.text) == (48_000, 1, "Hello there. More.")
    assert done.completed_at is not None


async def test_only_jobs_in_a_state(store: JobStore) -> None:
    await create(store, *(f"j{number}" for number in range(30)))
    await store.advance("j3", "streaming")
    await finish(store, "j7", "x")
    assert await all_pages(store, 5, states=["streaming"]) == ["j3"]
    assert sorted(await all_pages(store, 1, states=["streaming", "completed"])) == ["j3", "j7"]
    assert (await store.listing.page(5, states=["failed"])).searched == 30


async def test_words_are_found_in_title_transcript_and_summary(store: JobStore) -> None:
    await finish(store, "a", "We need a Budget for the lab.", said="They want money.")
    await finish(store, "b", "Nothing to see.", title="Budget")
    await finish(store, "c", "예산은 부족합니다", said="It is short.")
    await create(store, "d", title="Budget review, still live")

    async def found(query: str) -> list[str]:
        return sorted(await all_pages(store, 1, Search.of(query)))

    assert await found("budget") == ["a", "b", "d"]
    assert await found("BUDGET lab money") == ["a"]
    assert await found("예산") == ["c"]
    assert await found("short 예산") == ["c"]
    assert await found("nowhere") == []
    texts = {entry.job: entry.text for entry in (await store.listing.page(9, search=Search.of("money"))).entries}
    assert "They want money." in texts["a"]


async def test_a_search_stops_at_its_limit_and_can_go_on(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await finish(store, "old", "needle")
    await create(store, *(f"j{number:03}" for number in range(70)))
    monkeypatch.setattr(listing, "MOST_SEARCHED", 30)
    page = await store.listing.page(5, search=Search.of("needle"))
    assert (page.entries, page.searched) == ([], 40)  # whole batches
    assert page.cursor is not None
    assert await all_pages(store, 5, Search.of("needle")) == ["old"]


async def test_a_search_reads_only_so_much_text(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(45):
        await finish(store, f"j{number}", "x" * 100)
    monkeypatch.setattr(listing, "MOST_TEXT", 1_000)
    page = await store.listing.page(5, search=Search.of("y"))
    assert (page.searched, page.cursor is None) == (20, False)


async def test_expired_records_vanish_from_the_index(redis_url: str, redis: Any) -> None:
    async with connect(redis_url, retention=0.05) as brief, connect(redis_url, retention=60) as store:
        await create(brief, *(f"old{number}" for number in range(20)))
        await create(store, "kept")

        async def gone() -> bool:
            return not await redis.exists(scripts.RECORD + "old19")

        await wait_until(gone, description="the records have expired")
        await create(store, "new1", "new2")  # writes clean a few entries each
        for key in (scripts.BY_CREATION, scripts.BY_EXPIRY):
            left = await redis.zrange(key, 0, -1)
            assert {entry.partition("/")[2] for entry in left} == {"kept", "new1", "new2"}


async def test_a_list_leaves_out_what_has_expired_and_cleans_up(store: JobStore, redis: Any) -> None:
    await create(store, "a", "b", "c")
    await redis.delete(scripts.RECORD + "b")
    assert await all_pages(store, 2) == ["c", "a"]
    assert await redis.zcard(scripts.BY_CREATION) == await redis.zcard(scripts.BY_EXPIRY) == 2


async def test_a_record_that_outlives_its_index_entry_stays_listed(store: JobStore, redis: Any) -> None:
    await create(store, "a")
    entry = (await redis.zrange(scripts.BY_EXPIRY, 0, -1))[0]
    await redis.zadd(scripts.BY_EXPIRY, {entry: 1})  # as a clock that is far behind would have it
    await create(store, "b")
    assert sorted(await all_pages(store, 5)) == ["a", "b"]
    assert (await redis.zscore(scripts.BY_EXPIRY, entry)) > 1_700_000_000_000


async def test_a_record_written_again_is_listed_once(store: JobStore, redis: Any) -> None:
    await create(store, "a")
    await created_at(redis, "a", "2026-01-01T00:00:00.000+00:00")
    await redis.delete(scripts.RECORD + "a")
    await finish(store, "a", "x")
    assert names(await store.listing.page(5)) == ["a"]
    assert await redis.zcard(scripts.BY_CREATION) == 1


@pytest.fixture
async def older(redis: Any, redis_url: str) -> Any:
    """A Redis with jobs that a version without an index wrote: 500 live ones and a finished one."""
    async with connect(redis_url, retention=60) as store:
        for number in range(500):
            await create(store, f"j{number:03}")
        await finish(store, "done", "Hello.", title="Greetings")
    await redis.hdel(scripts.RECORD + "done", "digest", "text")
    await redis.delete(scripts.BY_CREATION, scripts.BY_EXPIRY)
    return redis


async def test_jobs_of_an_earlier_version_are_listed(older: Any, store: JobStore) -> None:
    lifetime = await older.pttl(scripts.RECORD + "j001")
    assert len(await all_pages(store, 100)) == 501
    assert await older.zcard(scripts.BY_EXPIRY) == 501
    assert await older.pttl(scripts.RECORD + "j001") <= lifetime  # being listed does not keep a job
    page = await store.listing.page(1, search=Search.of("hello"))
    assert (page.entries[0].title, page.entries[0].text) == ("Greetings", "Hello. Greetings")
    assert json.loads(await older.hget(scripts.RECORD + "done", "digest"))["segments"] == 1


async def test_the_index_is_made_once(older: Any, store: JobStore, redis_url: str) -> None:
    async with connect(redis_url) as other:
        pages = await asyncio.gather(store.listing.page(1_000), other.listing.page(1_000))
    assert all(len(page.entries) == 501 for page in pages)
    await older.delete(scripts.BY_CREATION)
    async with connect(redis_url) as late:
        assert (await late.listing.page(10)).entries == []


async def test_a_record_that_is_not_a_job_is_passed_over(store: JobStore, redis: Any) -> None:
    await create(store, "a", "b", "c", "d")
    await redis.hset(scripts.RECORD + "a", "state", "dancing")
    await redis.hset(scripts.RECORD + "b", "options", "[")
    await redis.hdel(scripts.RECORD + "c", "options")
    assert await all_pages(store, 3) == ["d"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "%%%", base64.urlsafe_b64encode(b"2026-01-01/a").decode(), "é", "a" * 10_000]
)
async def test_a_cursor_that_is_not_from_a_page_is_refused(store: JobStore, cursor: str) -> None:
    with pytest.raises(BadCursor, match="is not the cursor of a page"):
        await store.listing.page(5, cursor=cursor)


async def test_redis_away(store: JobStore, redis_server: Server) -> None:
    await create(store, "a")
    await redis_server.kill()
    with pytest.raises(StoreError):
        await store.listing.page(5)
    await redis_server.start()
    assert names(await store.listing.page(5)) == ["a"]
