"""The repository of jobs, on Redis 6.2 or newer.

Key layout: one hash for each job, `stenobus:job:<id>`, that expires `retention` seconds after its last write, and the
index that scripts.py beside this file describes. The fields of a record:

    state                                 one of `store.job.State`
    created_at, updated_at, completed_at  UTC, ISO 8601
    options, summary                      JSON of contract.JobOptions, Summary
    segments                              JSON list of contract.Transcript
    samples                               decimal
    digest, text                          what a list shows of a finished job, and what is searched: digest.py
    note:<name>                           what can be made anew from the job's sound
    token                                 which call of `create` wrote it

Each write is one Lua script, so that it happens as a whole or not at all, and refreshes the expiry. A command whose
connection broke is sent once more, on a new one: Redis closes them all when it restarts. It may then be executed twice,
and every command here is harmless to repeat.
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
from store.digest import digest_fields
from store.erasures import Erasures
from store.job import Job, earlier
from store.listing import Listing
from store.server import Server, StoreError, flat, iso_now, now_ms

__all__ = ["Job", "JobExists", "JobNotFound", "JobStore", "State", "StoreError", "StoreSettings", "connect"]

DAY = 86_400.0

_SEGMENTS = TypeAdapter(list[Transcript])


class JobExists(Exception):
    """There is a job of this id already, or there was one and it has been erased."""


class JobNotFound(Exception):
    """There is no job of this id: never created, or its retention is over."""


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


class JobStore:
    """Jobs by id. Every method raises StoreError while Redis is away, and works again by itself when it is back."""

    def __init__(self, redis: Redis, url: str, retention: float) -> None:
        self._redis = redis
        self._server = Server(redis, url)
        self._expiry = max(1, round(retention * 1000))
        self._create = redis.register_script(scripts.CREATE)
        self._advance = redis.register_script(scripts.ADVANCE)
        self._finish = redis.register_script(scripts.FINISH)
        self._note = redis.register_script(scripts.NOTE)
        self.listing = Listing(self._server)
        self.erasures = Erasures(self._server, max(self._expiry, round(DAY * 1000)))

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self._server.ask(cast("Awaitable[Any]", self._redis.ping()))

    async def create(self, job_id: str, options: JobOptions) -> None:
        """Record a new job in state `created`; raises JobExists."""
        now = iso_now()
        fields = {"state": "created", "created_at": now, "updated_at": now, "options": options.model_dump_json()}
        if not await self._write(self._create, job_id, uuid4().hex, *flat(fields)):
            raise JobExists(job_id)

    async def advance(self, job_id: str, state: State) -> State:
        """Move a job on to `state`, never back; returns the state that holds. Raises JobNotFound.

        An erased job stays `deleted`; it gets there by `erasures`, which leave nothing of it.
        """
        if state == "deleted":
            raise ValueError("a job is deleted by erasing it")
        held = await self._write(self._advance, job_id, state, iso_now(), *earlier(state))
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
            **digest_fields(segments, summary),
        }
        held = await self._write(self._finish, job_id, iso_now(), options.model_dump_json(), *flat(fields))
        return cast("State", held)

    async def get(self, job_id: str) -> Job | None:
        """All that is known of a job; None for an unknown one, and for one that has been erased."""
        reading = cast("Awaitable[dict[str, str]]", self._redis.hgetall(scripts.RECORD + job_id))
        fields = await self._server.ask(reading)
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

    async def note(self, job_id: str, name: str, value: str) -> None:
        """Keep something with a finished job that can be made anew; of any other job it is not kept."""
        await self._server.ask(self._note(keys=[scripts.RECORD + job_id], args=[f"note:{name}", value]))

    async def noted(self, job_id: str, name: str) -> str | None:
        """What was noted with a job, if it is still there."""
        reading = cast("Awaitable[str | None]", self._redis.hget(scripts.RECORD + job_id, f"note:{name}"))
        return cast("str | None", await self._server.ask(reading))

    async def _write(self, script: AsyncScript, job_id: str, *args: str) -> Any:
        keys = scripts.index_keys(job_id)
        return await self._server.ask(script(keys=keys, args=[job_id, now_ms(), self._expiry, *args]))


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
