"""Commands to Redis, and the one error that they raise."""

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
    """A command to Redis failed; the text says which Redis and why. Worth another attempt later."""


class Server:
    """One Redis: its client and its name in errors."""

    def __init__(self, redis: Redis, url: str) -> None:
        self.redis = redis
        self.name = f"redis at {_without_credentials(url)}"

    async def call(self, command: Awaitable[Any]) -> Any:
        """The answer to a command; raises StoreError if there is none."""
        try:
            return await command
        except (exceptions.RedisError, OSError) as exc:
            raise StoreError(f"{self.name}: {_reason(exc)}") from exc


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _reason(exc: BaseException) -> str:
    """The operating system's error message if there is one, which redis-py wraps in messages of its own."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(exc, exceptions.OutOfMemoryError) or "-OOM " in str(exc):  # the second: in a script
        return "out of memory (maxmemory): raise the limit, or erase jobs"
    return str(exc) or type(exc).__name__


def now_ms() -> int:
    """The time in ms since 1970, as in the scores of sorted sets."""
    return round(datetime.now(UTC).timestamp() * 1000)


def iso_now() -> str:
    """The time in UTC, ISO 8601 with milliseconds: of fixed length, so that texts sort as times do."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def flat(fields: Mapping[str, str]) -> list[str]:
    """Field, value, field, value, ..."""
    return [part for pair in fields.items() for part in pair]
