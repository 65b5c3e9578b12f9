"""The store of jobs, on Redis 6.2 or newer.

Each job has one hash, `stenobus:job:<id>`, that expires `retention` seconds after its last write, or sooner if nothing
but its creation was ever written. (For the index of all
jobs see `scripts.py`.) The fields of the hash:

    state                                 one of `store.job.State`
    created_at, updated_at, completed_at  UTC, ISO 8601
    options, summary                      JSON of contract.JobOptions, Summary
    segments                              JSON list of contract.Transcript
    samples                               decimal
    digest, text                          what a list shows of a finished job, and what is searched
    note:<name>                           cached values that can be computed again from the job's audio
    token                                 which call of `create` wrote it

Each write is one Lua script, so that it happens as a whole or not at all, and refreshes the expiry. A command whose
connection broke, as all do when Redis restarts, is sent once more on a new one. It may then be executed twice: every
command here is harmless to repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast
from uuid import uuid4

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript

from contract import JobOptions, State, Summary, Transcript
from store import scripts
from store.erasures import Erasures
from store.job import Job, digest_fields, earlier
from store.listing import Listing
from store.server import Server, StoreError, flat, iso_now, now_ms

__all__ = ["Job", "JobExists", "JobNotFound", "JobStore", "State", "StoreError", "StoreSettings", "connect"]

DAY = 86_400.0
_PROBE, _PROBE_MS = "stenobus:probe", 1_000

_SEGMENTS = TypeAdapter(list[Transcript])


class JobExists(Exception):
    """There is a job with this id already, or there was one that has been erased."""


class JobNotFound(Exception):
    """There is no job with this id: it was never created, or its retention is over."""


def _redis_url(url: str) -> str:
    parse_url(url)  # raises ValueError that names the accepted schemes
    return url


class StoreSettings(BaseSettings):
    """Where jobs are kept, and for how long."""

    model_config = SettingsConfigDict(env_prefix="STORE_")

    url: Annotated[str, AfterValidator(_redis_url)] = Field(
        "redis://127.0.0.1:6379/0", description="Address of the Redis server."
    )
    retention: float = Field(30 * DAY, gt=0, description="Seconds that a job is kept after its last change.")
    unused: float = Field(7_200.0, gt=0, description="Seconds that a job is kept to which no audio was ever sent.")


class JobStore:
    """Jobs by id. Every method raises StoreError while Redis is away, and works again by itself when it is back."""

    def __init__(self, redis: Redis, url: str, retention: float, unused: float) -> None:
        self._redis = redis
        self._server = Server(redis, url)
        self._expiry = max(1, round(retention * 1000))
        self._unused_expiry = min(self._expiry, max(1, round(unused * 1000)))
        self._create = redis.register_script(scripts.CREATE)
        self._advance = redis.register_script(scripts.ADVANCE)
        self._finish = redis.register_script(scripts.FINISH)
        self._cache = redis.register_script(scripts.CACHE)
        self.listing = Listing(self._server)
        self.erasures = Erasures(self._server, max(self._expiry, round(DAY * 1000)))

    async def ping(self) -> None:
        """Return once Redis has stored something: it may answer and refuse to write, for want of memory or of disk."""
        await self._server.call(cast("Awaitable[Any]", self._redis.set(_PROBE, "", px=_PROBE_MS)))

    async def create(self, job_id: str, options: JobOptions) -> None:
        """Record a new job in state `created`, which expires unless it is used; raises JobExists."""
        now = iso_now()
        fields = {"state": "created", "created_at": now, "updated_at": now, "options": options.model_dump_json()}
        args: list[str | int] = [job_id, now_ms(), self._unused_expiry, uuid4().hex, *flat(fields)]
        if not await self._server.call(self._create(keys=scripts.index_keys(job_id), args=args)):
            raise JobExists(job_id)

    async def advance(self, job_id: str, state: State) -> State:
        """Move a job forward to `state`, never back; returns the state that it is in then. Raises JobNotFound.

        An erased job stays `deleted`. Only `erasures` move a job to that state, because they also erase its record.
        """
        if state == "deleted":
            raise ValueError("a job is deleted by erasing it")
        new_state = await self._write(self._advance, job_id, state, iso_now(), *earlier(state))
        if new_state is None:
            raise JobNotFound(job_id)
        return cast("State", new_state)

    async def finish(
        self,
        job_id: str,
        *,
        options: JobOptions,
        samples: int,
        transcripts: Iterable[Transcript],
        summary: Summary,
    ) -> State:
        """Write the result of a job and set it `completed`; returns the state that it is in then.

        Harmless to repeat. A record that Redis has lost is written again in full, with these `options` and a new
        `created_at`. A job in state `deleted` stays as it is.
        """
        segments = sorted(transcripts, key=lambda transcript: transcript.index)
        fields = {
            "samples": str(samples),
            "segments": _SEGMENTS.dump_json(segments).decode(),
            "summary": summary.model_dump_json(),
            **digest_fields(segments, summary),
        }
        new_state = await self._write(self._finish, job_id, iso_now(), options.model_dump_json(), *flat(fields))
        return cast("State", new_state)

    async def get(self, job_id: str) -> Job | None:
        """The record of a job; None if it is unknown or erased."""
        reading = cast("Awaitable[dict[str, str]]", self._redis.hgetall(scripts.RECORD + job_id))
        fields = await self._server.call(reading)
        if not fields or fields.get("state") == "deleted":
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
            raise StoreError(f"{self._server.name}: the record {scripts.RECORD}{job_id} is not a job: {exc}") from exc

    async def cache(self, job_id: str, name: str, value: str) -> None:
        """Keep a computed value with a finished job, for as long as the job; nothing is kept with other jobs."""
        await self._server.call(self._cache(keys=[scripts.RECORD + job_id], args=[f"note:{name}", value]))

    async def cached(self, job_id: str, name: str) -> str | None:
        """The value that `cache` has kept, if it is still there."""
        reading = cast("Awaitable[str | None]", self._redis.hget(scripts.RECORD + job_id, f"note:{name}"))
        return cast("str | None", await self._server.call(reading))

    async def _write(self, script: AsyncScript, job_id: str, *args: str) -> Any:
        keys = scripts.index_keys(job_id)
        return await self._server.call(script(keys=keys, args=[job_id, now_ms(), self._expiry, *args]))


@asynccontextmanager
async def connect(
    url: str, retention: float = 30 * DAY, timeout: float = 5.0, *, unused: float = 30 * DAY
) -> AsyncIterator[JobStore]:
    """Open the store at a `redis://`, `rediss://` or `unix://` URL. Redis may be away: only commands need it.

    retention, unused: seconds that a job is kept, and one that stays in state `created`.
    timeout: seconds that a command waits for a connection, and again for its answer.
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
        yield JobStore(redis, url, retention, unused)
