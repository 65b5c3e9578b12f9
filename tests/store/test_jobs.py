import asyncio
import os
import re
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from compose.servers import Server, redis_server
from contract import ActionItem, JobOptions, State, Summary, Transcript
from store.job import Job
from store.jobs import JobExists, JobNotFound, JobStore, StoreError, StoreSettings, connect
from tests.small_disk import small_disk
from tests.support import wait_until

OPTIONS = JobOptions(language="ko", title="주간 회의", metadata={"room": 7})
AWAY = r"^redis at redis://127\.0\.0\.1:\d+/0: (?i:connection (refused|reset by peer|closed by server))"
TRANSCRIPTS = [
    Transcript(job="m1", index=1, start=32_000, end=48_000, text="Second.", language="en"),
    Transcript(job="m1", index=0, start=0, end=16_000, text="첫째.", language="ko", confidence=0.9),
]
SUMMARY = Summary(
    job="m1",
    title="회의",
    summary="두 마디.",
    action_items=[ActionItem(what="보고서")],
    engine="ollama",
    model="gemma3",
)


async def finish(store: JobStore, job_id: str = "m1") -> State:
    return await store.finish(job_id, options=OPTIONS, samples=48_000, transcripts=TRANSCRIPTS, summary=SUMMARY)


async def found(store: JobStore, job_id: str) -> Job:
    job = await store.get(job_id)
    assert job is not None
    return job


async def test_a_new_job_is_created(store: JobStore) -> None:
    await store.create("m1", OPTIONS)
    job = await found(store, "m1")
    assert (job.job, job.state, job.options) == ("m1", "created", OPTIONS)
    assert (job.samples, job.segments, job.summary, job.completed_at, job.transcript) == (0, [], None, None, "")
    assert job.created_at == job.updated_at
    assert job.created_at.utcoffset() == timedelta(0)


async def test_a_job_that_is_never_used_expires_earlier(redis_url: str, redis: Redis) -> None:
    async with connect(redis_url, retention=60.0, unused=30.0) as store:
        for job in ("unused", "used"):
            await store.create(job, OPTIONS)
        await store.advance("used", "streaming")
        assert 0 < await redis.pttl("stenobus:job:unused") <= 30_000
        assert 30_000 < await redis.pttl("stenobus:job:used") <= 60_000
    async with connect(redis_url, retention=60.0, unused=0.01) as store:
        await store.create("short", OPTIONS)
        await wait_until(lambda: _gone(store, "short"), description="it has expired")
        await store.create("next", OPTIONS)
        assert sorted(entry.job for entry in (await store.listing.page(9)).entries) == ["next", "unused", "used"]


async def _gone(store: JobStore, job: str) -> bool:
    return await store.get(job) is None


async def test_an_id_is_taken_once(store: JobStore) -> None:
    outcomes = await asyncio.gather(*(store.create("m1", OPTIONS) for _ in range(20)), return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome is None] == [None]
    assert sum(isinstance(outcome, JobExists) for outcome in outcomes) == 19


async def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    assert await store.get("nobody") is None
    with pytest.raises(JobNotFound, match="nobody"):
        await store.advance("nobody", "streaming")


async def test_a_job_never_goes_back(store: JobStore) -> None:
    await store.create("m1", OPTIONS)
    assert await store.advance("m1", "transcribing") == "transcribing"
    assert await store.advance("m1", "streaming") == "transcribing"
    assert await store.advance("m1", "failed") == "failed"
    assert await store.advance("m1", "completed") == "failed"
    assert (await found(store, "m1")).state == "failed"


async def test_a_job_cannot_be_advanced_to_deleted(store: JobStore) -> None:
    await store.create("m1", OPTIONS)
    with pytest.raises(ValueError, match="by erasing it"):
        await store.advance("m1", "deleted")
    assert (await found(store, "m1")).state == "created"


async def test_concurrent_writers_leave_the_latest_state(store: JobStore) -> None:
    await store.create("m1", OPTIONS)
    states: list[State] = ["summarizing", "streaming", "transcribing"] * 10
    await asyncio.gather(*(store.advance("m1", state) for state in states))
    assert (await found(store, "m1")).state == "summarizing"


async def test_a_finished_job_has_its_result(store: JobStore) -> None:
    await store.create("m1", JobOptions(title="as created"))
    assert await finish(store) == "completed"
    job = await found(store, "m1")
    assert (job.state, job.samples, job.summary) == ("completed", 48_000, SUMMARY)
    assert job.segments == [TRANSCRIPTS[1], TRANSCRIPTS[0]]
    assert job.transcript == "첫째.\nSecond."
    assert job.options.title == "as created"
    assert job.completed_at is not None
    assert job.created_at <= job.completed_at


async def test_finishing_again_changes_nothing(store: JobStore) -> None:
    await store.create("m1", OPTIONS)
    await finish(store)
    first = await found(store, "m1")
    assert await finish(store) == "completed"
    again = await found(store, "m1")
    assert again.model_copy(update={"updated_at": first.updated_at}) == first


async def test_finishing_a_lost_job_writes_a_complete_record(store: JobStore) -> None:
    assert await finish(store, "m1") == "completed"
    job = await found(store, "m1")
    assert (job.options, job.samples, job.summary, len(job.segments)) == (OPTIONS, 48_000, SUMMARY, 2)
    assert job.created_at == job.completed_at


async def test_values_are_cached_with_finished_jobs_only(store: JobStore, redis: Redis) -> None:
    await store.create("m1", OPTIONS)
    for job in ("m1", "nobody"):
        await store.cache(job, "peaks", "[1]")
        assert await store.cached(job, "peaks") is None
    assert not await redis.exists("stenobus:job:nobody")
    await finish(store)
    await store.cache("m1", "peaks", "[1]")
    assert await store.cached("m1", "peaks") == "[1]"
    assert await store.cached("m1", "other") is None
    assert (await found(store, "m1")).summary == SUMMARY


async def test_every_write_refreshes_the_retention(store: JobStore, redis: Redis) -> None:
    key = "stenobus:job:m1"

    async def refreshed() -> bool:
        left = await redis.pttl(key)
        await redis.pexpire(key, 1_000)
        return 50_000 < left <= 60_000

    await store.create("m1", OPTIONS)
    assert await refreshed()
    await store.advance("m1", "streaming")
    assert await refreshed()
    await store.advance("m1", "created")
    assert await refreshed()
    await finish(store)
    assert await refreshed()


async def test_a_job_is_gone_after_its_retention(redis_url: str) -> None:
    async with connect(redis_url, retention=0.05) as store:
        await store.create("m1", OPTIONS)

        async def gone() -> bool:
            return await store.get("m1") is None

        await wait_until(gone, description="the record has expired")


async def test_a_record_that_is_not_a_job_is_named(store: JobStore, redis: Redis) -> None:
    await redis.hset("stenobus:job:m1", mapping={"state": "dancing", "options": "{}"})
    with pytest.raises(StoreError, match="stenobus:job:m1 is not a job"):
        await store.get("m1")


async def test_the_store_recovers_from_a_crash_of_redis(store: JobStore, redis_server: Server) -> None:
    await store.create("m1", OPTIONS)
    await store.advance("m1", "streaming")
    await redis_server.kill()
    attempts = store.ping(), store.get("m1"), store.advance("m1", "summarizing"), finish(store)
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        assert isinstance(outcome, StoreError)
        assert re.match(AWAY, str(outcome))
    await redis_server.start()
    await store.ping()
    assert await finish(store) == "completed"
    assert (await found(store, "m1")).summary == SUMMARY


async def test_a_restart_between_two_commands_is_not_noticed(store: JobStore, redis_server: Server) -> None:
    await store.create("m1", OPTIONS)
    await asyncio.gather(*(store.get("m1") for _ in range(8)))  # so that several connections are open
    await redis_server.kill()
    await redis_server.start()
    await store.create("m2", OPTIONS)
    assert await asyncio.gather(*(store.advance("m2", "streaming") for _ in range(8))) == ["streaming"] * 8


async def test_redis_away_at_the_start(redis_server: Server) -> None:
    await redis_server.kill()
    async with connect(redis_server.url) as store:
        with pytest.raises(StoreError, match="connection refused"):
            await store.ping()
        await redis_server.start()
        await store.ping()


async def test_a_redis_that_hangs_does_not_hang_its_users(redis: Redis, redis_url: str) -> None:
    async with connect(redis_url, timeout=0.2) as store:
        await store.create("m1", OPTIONS)
        pid = (await redis.info("server"))["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match=r"(?i)timeout"):
                await store.get("m1")
            async with connect(redis_url, timeout=0.2) as late:
                with pytest.raises(StoreError, match=r"(?i)timeout"):
                    await late.ping()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert (await found(store, "m1")).state == "created"


async def test_credentials_are_not_in_errors(redis_server: Server) -> None:
    url = redis_server.url.replace("redis://", "redis://someone:secret@")
    async with connect(url) as store:
        with pytest.raises(StoreError) as caught:
            await store.ping()
    assert "secret" not in str(caught.value)
    assert redis_server.url in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:6379", "127.0.0.1:6379", "redis://host:port", ""])
def test_a_bad_url_stops_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", url)
    with pytest.raises(ValidationError):
        StoreSettings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", "unix:///run/redis.sock")
    monkeypatch.setenv("STORE_RETENTION", "3600")
    assert StoreSettings() == StoreSettings(url="unix:///run/redis.sock", retention=3600)
    monkeypatch.setenv("STORE_RETENTION", "0")
    with pytest.raises(ValidationError):
        StoreSettings()


async def test_while_redis_is_out_of_memory_writes_fail_with_the_reason_and_reads_and_erasures_work(
    store: JobStore, redis: Redis
) -> None:
    await store.ping()
    for job in ("m1", "m2"):
        await store.create(job, OPTIONS)
    await redis.config_set("maxmemory", 1)
    try:
        reason = r"^redis at \S+: out of memory \(maxmemory\): raise the limit, or erase jobs$"
        for write in (store.ping(), store.create("m3", OPTIONS), store.advance("m1", "streaming"), finish(store)):
            with pytest.raises(StoreError, match=reason):
                await write
        assert (await found(store, "m1")).state == "created"
        assert await store.get("m3") is None
        await store.erasures.erase("m2", settled=True, sweep_after=0)
        assert await store.get("m2") is None
    finally:
        await redis.config_set("maxmemory", 0)
    await store.ping()
    assert await finish(store) == "completed"


async def test_while_the_disk_of_redis_is_full_writes_fail_with_the_reason(tmp_path: Path) -> None:
    with small_disk(64) as disk:
        server = redis_server(disk.path / "redis", log=tmp_path / "redis.log")
        await server.start()
        try:
            async with connect(server.url) as store:
                await store.create("m1", OPTIONS)
                disk.fill()

                async def trouble() -> str:
                    try:
                        await store.advance("m1", "streaming")
                    except StoreError as exc:
                        return str(exc)
                    return ""

                async def told() -> bool:
                    return "No space left on device" in await trouble()

                await wait_until(told, description="Redis has noticed that its disk is full")
                with pytest.raises(StoreError, match="No space left on device"):
                    await store.ping()
                assert (await found(store, "m1")).job == "m1"
                disk.make_room()

                async def works() -> bool:
                    return not await trouble()

                await wait_until(works, description="Redis writes again")
                assert await finish(store) == "completed"
        finally:
            await server.kill()
