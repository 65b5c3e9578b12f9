"""Events as they are stored and as they come, in one asynchronous iterator."""

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
"""Events that are read ahead of who takes them."""


@dataclass(frozen=True, slots=True)
class Event(Generic[M]):
    """Something that happened to a job."""

    kind: str
    message: M
    seq: int | None
    """Its sequence in the stream EVENTS, what `after` takes; None for what is not stored."""
    time: datetime
    """When it was stored or, if it is not stored, when it came; UTC."""


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
    """Yield events of one job, or of all: those that are stored, in order, then those that come.

    kinds: names (`ACCEPTED`) or classes of messages, also of your own; none: `events`, everything that is stored. With
    these, a kind that this version does not know comes as `Other`. What is told and not stored, as `partial` and
    `speaking`, has no past, and some of it may be missed.
    url: of the bus; by default NATS_URL, else nats://127.0.0.1:4222.
    after: only what is stored behind this sequence. since: only what is not older; a timedelta counts back from now.
    follow: False ends at the present.

    Each stored event comes once and none is left out, also across a restart of the server. A transcript that had failed
    may be told again, with its text and a new `seq`: the later one counts. A message that is against the contract is
    logged and left out.

    Raises ValueError at once for what makes no sense; ConnectionError if there is no such bus within `connect_within`
    seconds. Later absences of the server are waited out.
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
    address = check_address(url or os.environ.get("NATS_URL") or DEFAULT_URL)
    return _events(selection, job or "*", address, after or 0, start, follow, connect_within)


async def _events(
    selection: Selection, job: str, url: str, after: int, since: datetime | None, follow: bool, within: float
) -> AsyncGenerator[Event[Any], None]:
    queue: asyncio.Queue[Event[Any] | BaseException | None] = asyncio.Queue(_AHEAD)

    def take(message: Message) -> None:
        with suppress(asyncio.QueueFull):  # whoever is that far behind has no use for it
            queue.put_nowait(Event(kind_of(type(message)), message, None, datetime.now(UTC)))

    async with reading(url, name="subscriber", within=within) as bus, AsyncExitStack() as stack:
        if since is not None:
            after = await bus.position(STREAM, since)
        for cls in selection.live if follow else ():
            await stack.enter_async_context(listening(bus, cls, job, take))
        pump = asyncio.create_task(_pump(bus, selection, job, after, follow, queue))
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


def _log_unreadable(subject: str, error: ContractError) -> None:
    log.warning("event cannot be read", subject=subject, reason=str(error))


async def _pump(
    bus: Bus,
    selection: Selection,
    job: str,
    after: int,
    follow: bool,
    queue: asyncio.Queue[Event[Any] | BaseException | None],
) -> None:
    """Put what is stored into the queue; None or an error at the end."""
    if not selection.any_stored:
        return
    try:
        async with aclosing(bus.read(STREAM, selection.pattern(job), after=after, live=follow)) as stored:
            async for raw in stored:
                message = selection.read(raw.subject, raw.data, _log_unreadable)
                if message is not None:
                    await queue.put(Event(kind_of(raw.subject), message, raw.seq, raw.time))
        await queue.put(None)
    except Exception as exc:  # noqa: BLE001 - raised again where the events are taken
        await queue.put(exc)
