"""Work from a shared durable consumer: a message is in flight at one worker, which acks it once its output is stored.

Publish, then ack: an ack means "my output is stored". Outputs are created on deterministic subjects, so handling a
message twice is harmless. A failure has three outcomes: the message becomes a dead letter (ContractError), is
redelivered (Retry, or any other exception), or, after its last attempt, a value is stored that says it failed, so that
no reader waits for a missing result.

The server counts deliveries, whatever their outcome. A handler that raises on delivery number `attempts` or later has
had its last attempt. Some deliveries have no outcome: the handler raised `Retry`, or its worker stopped or died. These
are not the message's fault, so it is given up for them only after three times as many deliveries.

Messages that were given up can be retried on request (see `dead.py`), with a delivery count of their own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from bus.backoff import delay_after
from bus.dead import Redriver
from bus.pull import Gone, Pull
from bus.streams import Bus
from bus.supervisor import Supervisor
from contract import ContractError, Dead, Message, Redrive, dead_letter

log = structlog.get_logger()
M = TypeVar("M", bound=Message)

_MAX_BATCH = 64
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.4, 30.0
_DELIVERIES_PER_ATTEMPT = 3
"""A message is given up after `attempts` times as many deliveries, even if none of them had an outcome."""

Outputs = Sequence[Message]


class Retry(Exception):
    """Have this message redelivered after some seconds. Counts as a delivery without an outcome, not as a failure."""

    def __init__(self, after: float) -> None:
        super().__init__(f"again after {after} s")
        self.after = after


class Fenced(Exception):
    """Another worker owns what this message names, so this one neither acks it nor gives it back."""


async def serve(
    bus: Bus,
    cls: type[M],
    handle: Callable[[M], Awaitable[Outputs]],
    *,
    durable: str,
    subjects: str | None = None,
    at_once: int = 1,
    ack_wait: float = 30.0,
    attempts: int | None = None,
    failed: Callable[[M, str], Awaitable[Outputs]] | None = None,
) -> None:
    """Handle each message of a class until `bus.stopping`: store what `handle` returns, then ack.

    subjects: a filter, as `cls.pattern` returns it; None: all subjects of the class.
    at_once: messages in flight at the same time.
    ack_wait: seconds after which the messages of a dead worker are redelivered to another.
    attempts: after so many, `failed(message, reason)` is stored instead of a result, and a `Dead`; None: no limit.

    Requests to retry messages that were given up are served as well, a few at a time.
    """

    async def handle_any(message: M, _delivery: int) -> Outputs:
        return await handle(message)

    async def give_up(msg: Msg, message: M, reason: str) -> Outputs:
        assert failed is not None  # noqa: S101 - narrows the type: without it there is no limit
        # The dead letter comes first, so that a crash cannot leave a failed value that nobody can retry.
        return [_dead(msg, reason, durable), *await failed(message, reason)]

    limit = attempts if failed else None
    redriver = Redriver(bus, cls, handle, failed)
    worker = _Worker(
        bus, cls, handle_any, give_up, durable, subjects or cls.pattern(), at_once, ack_wait, limit, name=durable
    )
    retries = _Worker(
        bus,
        Redrive,
        redriver.retry,
        lambda _msg, asked, reason: redriver.give_up(asked, reason),
        f"{durable}-redrive",
        Redrive.pattern(worker=durable),
        max(1, at_once // 4),  # new messages have priority
        ack_wait,
        limit,
        store=Bus.replace,
    )
    async with Supervisor() as tasks:
        retrying = tasks.start(retries.run(), name=retries.durable)
        await worker.run()
        await retrying


async def lease(
    bus: Bus,
    cls: type[M],
    own: Callable[[M, int], Awaitable[Outputs]],
    *,
    durable: str,
    at_once: int = 10_000,
    ack_wait: float = 5.0,
) -> None:
    """Own what each message of a class names for as long as `own(message, epoch)` runs, until `bus.stopping`.

    The epoch counts the leases of this message. A lease ends for good when `own` returns. It moves to another worker
    when this one stops or has been silent for `ack_wait` seconds; the former owner is not notified, but its writes are
    refused (fenced).
    """
    await _Worker(bus, cls, own, None, durable, cls.pattern(), at_once, ack_wait, None).run()


class _Unreadable(ContractError):
    """The message cannot be decoded, so no further attempt can help."""


def _dead(msg: Msg, reason: str, worker: str) -> Dead:
    at = msg.metadata
    return dead_letter(at.stream, at.sequence.stream, msg.subject, reason, worker)


@dataclass(slots=True, eq=False)
class _InFlight:
    """A message that is being handled, as of its newest delivery."""

    msg: Msg

    async def respond(self, response: Callable[[Msg], Awaitable[None]]) -> None:
        """Ack, nak or extend it. If the connection is down, this is lost, and it is redelivered after `ack_wait`."""
        with suppress(nats.errors.Error):
            await response(self.msg)


@dataclass
class _Worker(Generic[M]):
    bus: Bus
    cls: type[M]
    handle: Callable[[M, int], Awaitable[Outputs]]
    give_up: Callable[[Msg, M, str], Awaitable[Outputs]] | None
    durable: str
    subjects: str
    at_once: int
    ack_wait: float
    attempts: int | None
    name: str = ""
    """The worker that a `Dead` names; empty: the message cannot be retried."""
    store: Callable[[Bus, Message], Awaitable[object]] = Bus.create
    _in_flight: dict[int, _InFlight] = field(default_factory=dict)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _handlers: Supervisor = field(default_factory=Supervisor)

    async def run(self) -> None:
        """Work until the bus is stopping; raises what no message is to blame for."""
        pull = Pull(self.bus.connection.nc)
        self.bus.connection.reconnected.add(pull.interrupt)
        try:
            async with self._handlers:
                try:
                    async with Supervisor() as tasks:
                        tasks.start(self._fetch(pull), name=f"{self.durable} fetch")
                        tasks.start(self._heartbeat(), name=f"{self.durable} heartbeat")
                        await self.bus.stopping.wait()
                finally:
                    for msg in await pull.close():
                        await _InFlight(msg).respond(Msg.nak)
        finally:
            self.bus.connection.reconnected.discard(pull.interrupt)

    async def _fetch(self, pull: Pull) -> None:
        connection, stream = self.bus.connection, self.cls.STREAM
        if stream is None:
            raise TypeError(f"{self.cls.__name__} is not stored: it cannot be served")
        config = ConsumerConfig(
            name=self.durable,
            durable_name=self.durable,
            filter_subject=self.subjects,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_deliver=-1,  # attempts are counted here: with a limit on the server a result would be missing
            max_ack_pending=65_536,
        )
        while True:
            # Creates the consumer or updates it.
            await connection.until_done(lambda: connection.js.add_consumer(stream, config), f"{self.durable} waits")
            try:
                await pull.open(stream, self.durable)
                while True:
                    while len(self._in_flight) >= self.at_once:
                        self._room.clear()
                        await self._room.wait()
                    self._dispatch(await pull.next(lambda: min(self.at_once - len(self._in_flight), _MAX_BATCH)))
            except (Gone, nats.errors.Error) as exc:
                log.debug("consumer starts again", durable=self.durable, reason=str(exc))

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.ack_wait / 3)
            for delivery in list(self._in_flight.values()):
                await delivery.respond(Msg.in_progress)

    def _dispatch(self, msg: Msg) -> None:
        seq = msg.metadata.sequence.stream
        if seq in self._in_flight:
            # Our heartbeat was lost and no other worker has the message: go on, and respond to the newer delivery.
            self._in_flight[seq].msg = msg
        else:
            delivery = self._in_flight[seq] = _InFlight(msg)
            self._handlers.start(self._deal_with(seq, delivery), name=f"{self.durable} {msg.subject}")

    async def _deal_with(self, seq: int, delivery: _InFlight) -> None:
        """Handle a message and respond. Whatever it raises is this message's failure alone."""
        msg = delivery.msg
        try:
            await self._handle_or_bury(msg, delivery)
        except asyncio.CancelledError:
            await delivery.respond(Msg.nak)
            raise
        except Fenced as exc:
            log.warning("lease lost", subject=msg.subject, reason=str(exc))
        except Retry as exc:
            delay = exc.after
            await delivery.respond(lambda msg: msg.nak(delay))
        except Exception as exc:
            tries = msg.metadata.num_delivered
            log.warning("attempt failed", subject=msg.subject, attempt=tries, error=repr(exc), exc_info=True)
            delay = delay_after(tries, _FIRST_BACKOFF, _LONGEST_BACKOFF, random.random())  # noqa: S311
            await delivery.respond(lambda msg: msg.nak(delay))
        finally:
            del self._in_flight[seq]
            self._room.set()

    async def _handle_or_bury(self, msg: Msg, delivery: _InFlight) -> None:
        try:
            await self._handle(msg)
        except ContractError as exc:
            log.warning("dead letter", subject=msg.subject, reason=str(exc))
            await self.bus.create(_dead(msg, str(exc), "" if isinstance(exc, _Unreadable) else self.name))
            await delivery.respond(Msg.term)
        else:
            await delivery.respond(Msg.ack)

    async def _handle(self, msg: Msg) -> None:
        """Handle a message and store the outputs, or on its last attempt a value that says it failed."""
        delivery = msg.metadata.num_delivered
        try:
            message = self.cls.read(msg.subject, msg.data)
        except ContractError as exc:
            raise _Unreadable(str(exc)) from exc
        if self.attempts is None or self.give_up is None:
            outputs = await self.handle(message, delivery)
        elif delivery > self.attempts * _DELIVERIES_PER_ATTEMPT:
            outputs = await self.give_up(msg, message, f"no outcome in {delivery - 1} deliveries")
        else:
            try:
                outputs = await self.handle(message, delivery)
            except (ContractError, Retry):
                raise
            except Exception as exc:
                if delivery < self.attempts:
                    raise
                log.exception("last attempt failed", subject=msg.subject)
                outputs = await self.give_up(msg, message, f"{type(exc).__name__}: {exc}")
        for output in outputs:
            await self.store(self.bus, output)
