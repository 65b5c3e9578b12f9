"""The repository of jobs, on Redis 6.2 or newer.

Key layout: one hash for each job, `stenobus:job:<id>`, that expires `retention` seconds after its last write.
Its fields:

    state                                 one of `store.job.State`
    created_at, updated_at, completed_at  UTC, ISO 8601
    options, summary                      JSON of bus.messages.JobOptions, Summary
    segments                              JSON list of bus.messages.Transcript
    samples                               decimal

    token                                 which call of `create` wrote it

Each write is one Lua script, so that it happens as a whole or not at all, and refreshes the expiry. A command whose
connection broke is sent once more, on a new one: Redis closes them all when it restarts. It may then be executed twice,
and every command here is harmless to repeat.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bus.messages import JobOptions, Summary, Transcript
from store.job import Job, State, earlier

__all__ = ["Job", "JobExists", "JobNotFound", "JobStore", "State", "StoreError", "StoreSettings", "connect"]

PREFIX = "stenobus:job:"
DAY = 86_400.0

# KEYS: the job. ARGV of each: expiry in ms, then what its first line names.
_CREATE = """
-- token, field, value, ...
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('HGET', KEYS[1], 'token') == ARGV[2] end
redis.call('HSET', KEYS[1], 'token', unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return true
"""
_ADVANCE = """
-- state, time, each state that is earlier than it
local held = redis.call('HGET', KEYS[1], 'state')
if not held then return false end
for i = 4, #ARGV do
    if ARGV[i] == held then
        redis.call('HSET', KEYS[1], 'state', ARGV[2], 'updated_at', ARGV[3])
        held = ARGV[2]
        break
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return held
"""
_FINISH = """
-- time, options, field, value, ...
if redis.call('HGET', KEYS[1], 'state') == 'deleted' then return 'deleted' end
redis.call('HSETNX', KEYS[1], 'created_at', ARGV[2])
redis.call('HSETNX', KEYS[1], 'completed_at', ARGV[2])
redis.call('HSETNX', KEYS[1], 'options', ARGV[3])
redis.call('HSET', KEYS[1], 'state', 'completed', 'updated_at', ARGV[2], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'completed'
"""

_SEGMENTS = TypeAdapter(list[Transcript])


class StoreError(Exception):
    """Redis did not do what it was asked to; says which Redis and why. Worth another try later."""


class JobExists(Exception):
    """There is a job of this id already."""


class JobNotFound(Exception):
    """There is no job of this id: never created, or its retention is over."""


def _redis_url(url: str) -> str:
    parse_url(url)  # raises ValueError that names the accepted schemes
    return url


class StoreSettings(BaseSettings):
    """Where jobs are kept, and for how long."""

    model_config = SettingsConfigDict(env_prefix="STORE_")

    url: Annotated[str, AfterValidator(_redis_url)] = "redis://127.0.0.1:6379/0"
    retention: float = Field(30 * DAY, gt=0, description="Seconds that a job is kept after its last change.")


class JobStore:
    """Jobs by id. Every method raises StoreError while Redis is away, and works again by itself when it is back."""

    def __init__(self, redis: Redis, url: str, retention: float) -> None:
        self._redis = redis
        self._name = f"redis at {_without_credentials(url)}"
        self._expiry = max(1, round(retention * 1000))
        self._create = redis.register_script(_CREATE)
        self._advance = redis.register_script(_ADVANCE)
        self._finish = redis.register_script(_FINISH)

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._ask(cast("Awaitable[Any]", self._redis.ping()))

    async def create(self, job_id: str, options: JobOptions) -> None:
        """Record a new job in state `created`; raises JobExists."""
        now = _now()
        fields = {"state": "created", "created_at": now, "updated_at": now, "options": options.model_dump_json()}
        if not await self._ask(self._create(keys=[PREFIX + job_id], args=[self._expiry, uuid4().hex, *_flat(fields)])):
            raise JobExists(job_id)

    async def advance(self, job_id: str, state: State) -> State:
        """Move a job on to `state`, never back; returns the state that holds. Raises JobNotFound."""
        args: list[str | int] = [self._expiry, state, _now(), *earlier(state)]
        held = await self._ask(self._advance(keys=[PREFIX + job_id], args=args))
        if held is None:
            raise JobNotFound(job_id)
        return cast("State", held)

    async def finish(
        self,
        job_id: str,
        *,
        options: JobOptions,
        samples: int,
        transcripts: Iterable[Transcript],
        summary: Summary,
    ) -> State:
        """Write what came of a job and set it `completed`; returns the state that holds.

        Harmless to repeat. A record that Redis has lost is written anew, in full (created_at is then now, and `options`
        are these); a job in state `deleted` stays as it is.
        """
        segments = sorted(transcripts, key=lambda transcript: transcript.index)
        fields = {
            "samples": str(samples),
            "segments": _SEGMENTS.dump_json(segments).decode(),
            "summary": summary.model_dump_json(),
        }
        args: list[str | int] = [self._expiry, _now(), options.model_dump_json(), *_flat(fields)]
        return cast("State", await self._ask(self._finish(keys=[PREFIX + job_id], args=args)))

    async def get(self, job_id: str) -> Job | None:
        """All that is known of a job; None for an unknown one."""
        fields = await self._ask(cast("Awaitable[dict[str, str]]", self._redis.hgetall(PREFIX + job_id)))
        if not fields:
            return None
        parsed = {name: value for name, value in fields.items() if name not in {"options", "segments", "summary"}}
        try:
            return Job.model_validate(
                {
                    **parsed,
                    "job": job_id,
                    "options": JobOptions.model_validate_json(fields["options"]),
                    "segments": _SEGMENTS.validate_json(fields.get("segments", "[]")),
                    "summary": Summary.model_validate_json(fields["summary"]) if "summary" in fields else None,
                }
            )
        except (KeyError, ValidationError) as exc:
            raise StoreError(f"{self._name}: the record {PREFIX}{job_id} is not a job: {exc}") from exc

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except (exceptions.RedisError, OSError) as exc:
            raise StoreError(f"{self._name}: {_reason(exc)}") from exc


@asynccontextmanager
async def connect(url: str, retention: float = 30 * DAY, timeout: float = 5.0) -> AsyncIterator[JobStore]:
    """Open the store at a `redis://`, `rediss://` or `unix://` URL. Redis may still be away: commands tell.

    timeout: seconds that a command may wait, for a connection and for its answer each.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=16,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
        decode_responses=True,
    )
    async with Redis.from_pool(pool) as redis:
        yield JobStore(redis, url, retention)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _flat(fields: dict[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _reason(exc: BaseException) -> str:
    """What the operating system said, where it said something: redis-py wraps it in words about its own calls."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    return str(exc) or type(exc).__name__
