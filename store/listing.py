"""Lists of jobs, newest first and page by page, and the search in them.

However many jobs there are, each command takes Redis only a few milliseconds: a page is a range of the index
(`scripts.py`) and some fields of its records. A search reads records in batches and looks for the words itself,
up to a limit; the cursor says where the next call goes on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Any, cast

import structlog
from pydantic import TypeAdapter

from contract import State, Summary, Transcript
from store import scripts
from store.job import ENTRY_FIELDS, TEXT_FIELD, Entry, digest_fields, read_entry
from store.search import Search
from store.server import Server, flat, now_ms

log = structlog.get_logger()

MOST_SEARCHED = 1_000
"""Records that one call reads at most."""

MOST_TEXT = 16_000_000
"""Characters of text after which a call reads no further batch."""

_BATCH = 20
_SCAN = 200
_INDEXED = "stenobus:jobs:indexed"
_ENTRY = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00)/([A-Za-z0-9_-]{1,64})")
_SEGMENTS = TypeAdapter(list[Transcript])


class BadCursor(ValueError):
    """A cursor that is not from a page."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first, of the `searched` ones that were read; the next page starts after `cursor`."""

    entries: list[Entry]
    searched: int
    cursor: str | None


class Listing:
    """The jobs of one store. Raises StoreError while Redis is away."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._redis = server.redis
        self._adopt = server.redis.register_script(scripts.ADOPT)
        self._cache = server.redis.register_script(scripts.CACHE)
        self._indexed = False

    async def page(
        self, limit: int, *, states: Collection[State] = (), search: Search | None = None, cursor: str | None = None
    ) -> Page:
        """At most `limit` jobs in one of `states` (empty: any) that match `search`. Raises BadCursor."""
        position = None if cursor is None else _decode(cursor)
        await self._index_once()
        found: list[Entry] = []
        searched = text = 0
        more = True
        while more and len(found) < limit and searched < MOST_SEARCHED and text < MOST_TEXT:
            entries = await self._entries(position, _BATCH)
            more = len(entries) == _BATCH
            for entry, fields in await self._records(entries, search):
                if len(found) == limit:
                    more = True
                    break
                position = entry
                if fields is not None:
                    searched += 1
                    text += len(fields.get(TEXT_FIELD, ""))
                    found += await self._listed(entry, fields, states, search)
                    await asyncio.sleep(0)  # folding the text of a long meeting takes milliseconds
        more = more and position is not None and bool(await self._entries(position, 1))
        return Page(found, searched, _encode(position) if more and position else None)

    async def _entries(self, after: str | None, count: int) -> list[str]:
        above = "+" if after is None else f"({after}"
        return cast(
            "list[str]",
            await self._server.call(self._redis.zrevrangebylex(scripts.BY_CREATION, above, "-", start=0, num=count)),
        )

    async def _records(self, entries: list[str], search: Search | None) -> list[tuple[str, dict[str, str] | None]]:
        """The fields of each record that a list shows; None for a record that has expired."""
        names = [*ENTRY_FIELDS, TEXT_FIELD] if search else [*ENTRY_FIELDS]
        reading = self._redis.pipeline(transaction=False)
        for entry in entries:
            reading.hmget(scripts.RECORD + _job(entry), names)
        records: list[tuple[str, dict[str, str] | None]] = []
        for entry, values in zip(entries, await self._server.call(reading.execute()), strict=True):
            fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            # A record that was written again after it had expired has another entry.
            records.append((entry, fields if fields.get("created_at") == entry.partition("/")[0] else None))
        if gone := [entry for entry, fields in records if fields is None]:
            cleaning = self._redis.pipeline(transaction=False)
            cleaning.zrem(scripts.BY_CREATION, *gone)
            cleaning.zrem(scripts.BY_EXPIRY, *gone)
            await self._server.call(cleaning.execute())
        return records

    async def _listed(
        self, entry: str, fields: dict[str, str], states: Collection[State], search: Search | None
    ) -> list[Entry]:
        """The entry of a record; empty if the record does not match or is not a job's."""
        if states and fields.get("state") not in states:
            return []
        try:
            if fields.get("state") == "completed" and "digest" not in fields:
                fields |= await self._digest(_job(entry))
            listed = read_entry(_job(entry), fields, search)
        except ValueError as exc:
            log.warning("record is not a job", key=scripts.RECORD + _job(entry), reason=str(exc))
            return []
        return [listed] if listed else []

    async def _digest(self, job: str) -> dict[str, str]:
        """Add the fields that an earlier version did not write when it finished the job."""
        record = scripts.RECORD + job
        reading = cast("Awaitable[list[str | None]]", self._redis.hmget(record, ["segments", "summary"]))
        segments, summary = await self._server.call(reading)
        fields = digest_fields(
            _SEGMENTS.validate_json(segments or "[]"), Summary.model_validate_json(summary) if summary else None
        )
        await self._server.call(self._cache(keys=[record], args=flat(fields)))
        return fields

    async def _index_once(self) -> None:
        """Index the records of an earlier version, which had no index; a few at a time."""
        if self._indexed:
            return
        if not await self._server.call(cast("Awaitable[Any]", self._redis.exists(_INDEXED))):
            at: int | None = None
            while at != 0:
                scanning = self._redis.scan(at or 0, match=f"{scripts.RECORD}*", count=_SCAN)
                at, keys = await self._server.call(scanning)
                jobs = [key.removeprefix(scripts.RECORD) for key in keys]
                await self._server.call(self._adopt(keys=scripts.index_keys(""), args=["", now_ms(), 0, *jobs]))
            await self._server.call(cast("Awaitable[Any]", self._redis.set(_INDEXED, 1)))
        self._indexed = True


def _job(entry: str) -> str:
    return entry.partition("/")[2]


def _encode(entry: str) -> str:
    return base64.urlsafe_b64encode(entry.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        entry = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        entry = ""
    if not _ENTRY.fullmatch(entry):
        raise BadCursor(f"{cursor!r} is not the cursor of a page")
    return entry
