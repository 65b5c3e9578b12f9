"""The connection to Redis, and what is said when it does not do what it was asked to."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from redis import exceptions
from redis.asyncio import Redis


class StoreError(Exception):
    """Redis did not do what it was asked to; says which Redis and why. Worth another try later."""


class Server:
    """One Redis: its client, and its name in errors."""

    def __init__(self, redis: Redis, url: str) -> None:
        self.redis = redis
        self.name = f"redis at {_without_credentials(url)}"

    async def ask(self, answer: Awaitable[Any]) -> Any:
        """Await an answer; raises StoreError where there is none."""
        try:
            return await answer
        except (exceptions.RedisError, OSError) as exc:
            raise StoreError(f"{self.name}: {_reason(exc)}") from exc


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


def now_ms() -> int:
    """The time in ms since 1970, as scores have it."""
    return round(datetime.now(UTC).timestamp() * 1000)


def iso_now() -> str:
    """The time in UTC, ISO 8601 with milliseconds: of fixed length, so that these sort as the times do."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def flat(fields: Mapping[str, str]) -> list[str]:
    """Field, value, field, value, ..."""
    return [part for pair in fields.items() for part in pair]
