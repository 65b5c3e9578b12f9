"""Dead letters: listing them, asking for a retry, and the retry by the worker that had given the message up.

A request for a retry is a stored `Redrive`, which the worker takes from a shared durable consumer like its other
messages. The order of its steps makes a crash at any point harmless: store the outputs, store `Redriven`, remove the
dead letter, ack the `Redrive`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import structlog

from bus.streams import Bus, Stored
from contract import ContractError, Dead, Message, Redrive, Redriven, is_job_id

log = structlog.get_logger()
M = TypeVar("M", bound=Message)


class UnknownLetter(LookupError):
    """There is no such dead letter."""


class NotRetryable(Exception):
    """No further attempt can help; the text says why."""


class Expired(Exception):
    """The stream does not have the message any more."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and when it was stored (UTC), which is when the last attempt failed."""

    dead: Dead
    at: datetime


async def letters(bus: Bus, job: str = "*", *, limit: int) -> list[Letter]:
    """The newest dead letters of one job, or of all, newest first."""
    newest: deque[Letter] = deque(maxlen=limit)
    async with aclosing(bus.read("EVENTS", Dead.pattern(job), live=False)) as stored:
        async for raw in stored:
            try:
                newest.append(Letter(Dead.read(raw.subject, raw.data), raw.time))
            except ContractError as exc:
                log.warning("dead letter cannot be read", subject=raw.subject, reason=str(exc))
    return list(reversed(newest))


async def redrive(bus: Bus, job: str, stream: str, seq: int) -> Redrive:
    """Ask for a retry of a dead message; returns the request. Raises UnknownLetter, NotRetryable or Expired."""
    name = f"no dead letter of job {job!r} for message {seq} of {stream!r}"
    if not (is_job_id(job) and is_job_id(stream)):
        raise UnknownLetter(name)
    letter = await _letter(bus, job, stream, seq)
    if letter is None:
        raise UnknownLetter(name)
    dead = letter.value
    if not dead.worker:
        raise NotRetryable(f"message {seq} of {stream} cannot be tried again: {dead.reason}")
    if await bus.stored(stream, seq) is None:
        raise Expired(f"message {seq} of {stream} has aged out: it is not stored any more")
    asked = Redrive(job=job, worker=dead.worker, stream=stream, seq=seq)
    await bus.publish(asked)
    return asked


@dataclass(frozen=True)
class Redriver(Generic[M]):
    """Retries dead messages of one class, for the worker that handles this class."""

    bus: Bus
    cls: type[M]
    handle: Callable[[M], Awaitable[Sequence[Message]]]
    failed: Callable[[M, str], Awaitable[Sequence[Message]]] | None

    async def retry(self, asked: Redrive, _delivery: int) -> list[Dead]:
        """Try once more; returns a new dead letter if the message is refused again. Raises what `handle` raises."""
        letter = await _letter(self.bus, asked.job, asked.stream, asked.seq)
        if letter is None:
            return []  # requested twice, and done already
        done = Redriven(**asked.model_dump())
        if await self.bus.last_raw(done.subject) is None:
            raw = await self.bus.stored(asked.stream, asked.seq)
            if raw is None:
                log.warning("dead message has aged out", stream=asked.stream, seq=asked.seq)
                return []
            try:
                await self._handle(self.cls.read(raw.subject, raw.data), letter.value.reason)
            except ContractError as exc:
                return await self.give_up(asked, str(exc))
            await self.bus.create(done)
            log.info("dead message has been handled", subject=raw.subject, seq=raw.seq)
        await self.bus.purge("EVENTS", letter.value.subject)
        return []

    async def give_up(self, asked: Redrive, reason: str) -> list[Dead]:
        """The dead letter with the new reason."""
        letter = await _letter(self.bus, asked.job, asked.stream, asked.seq)
        return [] if letter is None else [letter.value.model_copy(update={"reason": reason})]

    async def _handle(self, message: M, reason: str) -> None:
        outputs = await self.handle(message)
        # Readers have been given a value that says this message failed: the output replaces it.
        failures = {output.subject for output in await self.failed(message, reason)} if self.failed else set()
        for output in outputs:
            if output.subject in failures:
                await self.bus.replace(output)
            else:
                await self.bus.create(output)


async def _letter(bus: Bus, job: str, stream: str, seq: int) -> Stored[Dead] | None:
    try:
        return await bus.last(Dead, f"events.{job}.dead.{stream}.{seq}")
    except ContractError:
        return None  # somebody else's garbage
