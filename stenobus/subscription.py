"""Stored events and new ones in one asynchronous iterator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar, overload

import structlog

from bus.connection import check_address
from bus.requests import listening
from bus.streams import Bus, reading
from contract import ContractError, Message, is_job_id, kind_of
from stenobus.kinds import STREAM, Selection, select

log = structlog.get_logger()
M = TypeVar("M", bound=Message, covariant=True)

DEFAULT_URL = "nats://127.0.0.1:4222"
_AHEAD = 256
"""How many events are read ahead of the subscriber."""


@dataclass(frozen=True, slots=True)
class Event(Generic[M]):
    """Something that happened to a job."""

    kind: str
    message: M
    seq: int | None
    """Its sequence in the stream EVENTS, for `after`; None for an event that is not stored."""
    time: datetime
    """When it was stored or, if it is not stored, received; UTC."""


@overload
def subscribe(
    kind: type[M],
    /,
    *kinds: type[M],
    job: str | None = None,
    url: str | None = None,
    after: int | None = None,
    since: datetime | timedelta | None = None,
    follow: bool = True,
    connect_within: float = 10.0,
) -> AsyncGenerator[Event[M], None]: ...


@overload
def subscribe(
    *kinds: str | type[Message],
    job: str | None = None,
    url: str | None = None,
    after: int | None = None,
    since: datetime | timedelta | None = None,
    follow: bool = True,
    connect_within: float = 10.0,
) -> AsyncGenerator[Event[Any], None]: ...


def subscribe(
    *kinds: str | type[Message],
    job: str | None = None,
    url: str | None = None,
    after: int | None = None,
    since: datetime | timedelta | None = None,
    follow: bool = True,
    connect_within: float = 10.0,
) -> AsyncGenerator[Event[Any], None]:
    """Yield the events of one job or of all: first the stored ones, in order, then new ones.

    kinds: names (`ACCEPTED`) or classes of messages, also your own; none: `events`, everything that is stored. `events`
    yields a kind that this version does not know as `Other`. Kinds that are not stored, such as `partial` and
    `speaking`, have no past, and some of their events may be lost.
    url: of the bus, or several with commas between; by default NATS_URL, else nats://127.0.0.1:4222.
    after: only events that are stored after this sequence. since: only events that are not older; a timedelta counts
    back from now.
    follow: False ends with the last stored event.

    Each stored event comes exactly once, also across a restart of the server. A failed transcript may come again, with
    its text and a new `seq`: the later one counts. A message that breaks the contract is logged and left out.

    Raises ValueError at once for arguments that make no sense, and ConnectionError if the bus is not there within
    `connect_within` seconds. Later it waits for a server that is away.
    """
    selection = select(kinds)
    if job is not None and not is_job_id(job):
        raise ValueError(f"{job!r} is not the id of a job: 1 to 64 letters, digits, _ and -")
    if after is not None and since is not None:
        raise ValueError("give after or since, not both")
    if after is not None and after < 0:
        raise ValueError(f"after={after}: a sequence is 0 (everything) or more")
    if not follow and not selection.any_stored:
        raise ValueError("follow=False: what is not stored can only be followed")
    if isinstance(since, datetime) and since.tzinfo is None:
        raise ValueError("since has no time zone")
    start = datetime.now(UTC) - since if isinstance(since, timedelta) else since
    address = url or os.environ.get("NATS_URL") or DEFAULT_URL
    check_address(address)
    return _events(selection, job or "*", address, after or 0, start, follow, connect_within)


async def _events(
    selection: Selection, job: str, url: str, after: int, since: datetime | None, follow: bool, within: float
) -> AsyncGenerator[Event[Any], None]:
    queue: asyncio.Queue[Event[Any] | BaseException | None] = asyncio.Queue(_AHEAD)

    def put(message: Message) -> None:
        with suppress(asyncio.QueueFull):  # a subscriber that is so far behind has no use for it
            queue.put_nowait(Event(kind_of(type(message)), message, None, datetime.now(UTC)))

    async with reading(url, name="subscriber", within=within) as bus, AsyncExitStack() as stack:
        if since is not None:
            after = await bus.position(STREAM, since)
        for cls in selection.live if follow else ():
            await stack.enter_async_context(listening(bus, cls, job, put))
        reading_stored = asyncio.create_task(_read_stored(bus, selection, job, after, follow, queue))
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            reading_stored.cancel()
            await asyncio.gather(reading_stored, return_exceptions=True)


def _log_unreadable(subject: str, error: ContractError) -> None:
    log.warning("event cannot be read", subject=subject, reason=str(error))


async def _read_stored(
    bus: Bus,
    selection: Selection,
    job: str,
    after: int,
    follow: bool,
    queue: asyncio.Queue[Event[Any] | BaseException | None],
) -> None:
    """Put stored events into the queue, and None or an error at the end."""
    if not selection.any_stored:
        return
    try:
        async with aclosing(bus.read(STREAM, selection.pattern(job), after=after, live=follow)) as stored:
            async for raw in stored:
                message = selection.read(raw.subject, raw.data, _log_unreadable)
                if message is not None:
                    await queue.put(Event(kind_of(raw.subject), message, raw.seq, raw.time))
        await queue.put(None)
    except Exception as exc:  # noqa: BLE001 - raised again in `_events`
        await queue.put(exc)
