"""Work from a shared durable consumer: a message is in flight at one worker, which acks it once its output is stored.

Publish, then ack: an ack means "my output is stored". Outputs are created on deterministic subjects, so doing a message
twice is harmless. Bad news has three outcomes: dead-lettered (ContractError), redelivered (Retry, or any other
exception), and after the last attempt a value that says it failed, so that no reader waits on a hole.

How attempts are counted: the server counts deliveries, and each counts, whatever came of it. A handler that raises on
delivery number `attempts` or later has had its last one. A delivery can also end without an outcome: the handler raised
`Retry`, its worker was stopped and gave the message back, or its worker died. None of these is the message's failure,
so that only `attempts` x 3 deliveries without an outcome end it, before it is handed out once more.

What was given up can be tried again when a person asks for it (`dead.py` beside this file); that is a delivery of its
own, counted anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from bus.backoff import delay_after
from bus.dead import Redriver, replace
from bus.pull import Gone, Pull
from bus.stream import Bus
from contract import ContractError, Dead, Message, Redrive, dead_letter

log = structlog.get_logger()
M = TypeVar("M", bound=Message)

_MAX_BATCH = 64
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.4, 30.0
_DELIVERIES_PER_ATTEMPT = 3
"""How many times `attempts` deliveries may end without an outcome."""

Outputs = Sequence[Message]


class Retry(Exception):
    """Redeliver this message after so many seconds; no failure of the message, but a delivery without an outcome."""

    def __init__(self, after: float) -> None:
        super().__init__(f"again after {after} s")
        self.after = after


class Fenced(Exception):
    """Somebody else owns what this message names: it is neither done nor given back here."""


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
    failed: Callable[[M, str], Outputs] | None = None,
) -> None:
    """Handle each message of a class until `bus.stopping`; stores what `handle` returns, then acks.

    `subjects`: which of them, a filter as `cls.pattern` gives; None: all. `at_once`: messages in hand at the same time.
    `ack_wait`: seconds after which the messages of a dead worker are redelivered to another. `attempts`: after so many
    deliveries `failed(message, reason)` is stored in place of a result, beside a `Dead`; None: no limit. Messages given
    up are taken again when asked for, beside the others, a few at a time.
    """

    async def handle_any(message: M, _tries: int) -> Outputs:
        return await handle(message)

    async def give_up(msg: Msg, message: M, reason: str) -> Outputs:
        assert failed is not None  # noqa: S101 - narrows the type: without it there is no limit
        # The dead letter first: a crash in between must not leave a failed value that nobody can ask to try again.
        return [_dead(msg, reason, durable), *failed(message, reason)]

    limit = attempts if failed else None
    again = Redriver(bus, cls, handle, failed)
    new = _Worker(
        bus, cls, handle_any, give_up, durable, subjects or cls.pattern(), at_once, ack_wait, limit, name=durable
    )
    old = _Worker(
        bus,
        Redrive,
        again.take,
        lambda _msg, asked, reason: again.give_up(asked, reason),
        f"{durable}-redrive",
        Redrive.pattern(worker=durable),
        max(1, at_once // 4),  # what is new comes first
        ack_wait,
        limit,
        store=replace,
    )
    await _both(new.run(), old.run())


async def lease(
    bus: Bus,
    cls: type[M],
    own: Callable[[M, int], Awaitable[Outputs]],
    *,
    durable: str,
    at_once: int = 10_000,
    ack_wait: float = 5.0,
) -> None:
    """Own what each message of a class names, for as long as `own(message, epoch)` runs.

    The epoch counts the leases of this message. A lease ends for good when `own` returns; it moves to another worker
    when this one stops or has been silent for `ack_wait` seconds. The former owner is not told: its writes are fenced.
    """
    await _Worker(bus, cls, own, None, durable, cls.pattern(), at_once, ack_wait, None).run()


async def _both(*works: Coroutine[None, None, None]) -> None:
    """Run until both have ended, or one has raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            if not task.cancelling():  # else it is giving back what it has: let it
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Cancel tasks, and wait until they have ended; returns what became of each.

    More than once if need be: before Python 3.12 `asyncio.wait_for`, with which nats-py waits, can swallow a
    cancellation that comes together with what it waits for (python/cpython#86296).
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
    return await asyncio.gather(*tasks, return_exceptions=True)


class _Unreadable(ContractError):
    """The message itself is garbage: no attempt can help."""


async def _create(bus: Bus, message: Message) -> None:
    await bus.create(message)


def _dead(msg: Msg, reason: str, worker: str) -> Dead:
    at = msg.metadata
    return dead_letter(at.stream, at.sequence.stream, msg.subject, reason, worker)


@dataclass(slots=True, eq=False)
class _InFlight:
    """A message in hand: its newest delivery, and the task at work on it."""

    msg: Msg
    task: asyncio.Task[None] | None = None

    async def answer(self, answer: Callable[[Msg], Awaitable[None]]) -> None:
        """Settle it. Where the connection is away the answer is lost, and the message is redelivered in `ack_wait`."""
        with suppress(nats.errors.Error):
            await answer(self.msg)


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
    """Whom a `Dead` names; empty: it cannot be asked to try again."""
    store: Callable[[Bus, Message], Awaitable[None]] = _create
    _in_flight: dict[int, _InFlight] = field(default_factory=dict)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Work until the bus is stopping, or something here is broken for good."""
        pull = Pull(self.bus.nc)
        self.bus.reconnected.add(pull.interrupt)
        work = [asyncio.create_task(self._fetch(pull)), asyncio.create_task(self._heartbeat())]
        stop = asyncio.create_task(self.bus.stopping.wait())
        try:
            await asyncio.wait([*work, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.bus.reconnected.discard(pull.interrupt)
            results = await _end(*work, stop)
            for msg in await pull.close():
                await _InFlight(msg).answer(Msg.nak)
            await _end(*(delivery.task for delivery in self._in_flight.values() if delivery.task))
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _fetch(self, pull: Pull) -> None:
        stream = self.cls.STREAM
        if stream is None:
            raise TypeError(f"{self.cls.__name__} is not stored: it cannot be served")
        config = ConsumerConfig(
            name=self.durable,
            durable_name=self.durable,
            filter_subject=self.subjects,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            max_deliver=-1,  # attempts are counted here: a limit on the server would leave a hole
            max_ack_pending=65_536,
        )
        while True:
            # Creates the consumer or updates it.
            await self.bus.until_done(lambda: self.bus.js.add_consumer(stream, config), f"{self.durable} waits")
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
                await delivery.answer(Msg.in_progress)

    def _dispatch(self, msg: Msg) -> None:
        seq = msg.metadata.sequence.stream
        if seq in self._in_flight:
            # Our heartbeat was lost, nobody else's work began: go on, and answer to the newer delivery.
            self._in_flight[seq].msg = msg
        else:
            delivery = self._in_flight[seq] = _InFlight(msg)
            delivery.task = asyncio.create_task(self._take(seq, delivery))

    async def _take(self, seq: int, delivery: _InFlight) -> None:
        msg = delivery.msg
        try:
            await self._work(msg)
            await delivery.answer(Msg.ack)
        except asyncio.CancelledError:
            await delivery.answer(Msg.nak)
            raise
        except ContractError as exc:
            log.warning("dead letter", subject=msg.subject, reason=str(exc))
            await self.bus.create(_dead(msg, str(exc), "" if isinstance(exc, _Unreadable) else self.name))
            await delivery.answer(Msg.term)
        except Fenced as exc:
            log.warning("lease lost", subject=msg.subject, reason=str(exc))
        except Retry as exc:
            delay = exc.after
            await delivery.answer(lambda msg: msg.nak(delay))
        except Exception as exc:  # one message's failure, whatever it is, is not another's
            tries = msg.metadata.num_delivered
            log.warning("attempt failed", subject=msg.subject, attempt=tries, error=repr(exc), exc_info=True)
            delay = delay_after(tries, _FIRST_BACKOFF, _LONGEST_BACKOFF, random.random())  # noqa: S311
            await delivery.answer(lambda msg: msg.nak(delay))
        finally:
            del self._in_flight[seq]
            self._room.set()

    async def _work(self, msg: Msg) -> None:
        tries = msg.metadata.num_delivered
        try:
            message = self.cls.read(msg.subject, msg.data)
        except ContractError as exc:
            raise _Unreadable(str(exc)) from exc
        if self.attempts is None or self.give_up is None:
            outputs = await self.handle(message, tries)
        elif tries > self.attempts * _DELIVERIES_PER_ATTEMPT:
            outputs = await self.give_up(msg, message, f"no outcome in {tries - 1} deliveries")
        else:
            try:
                outputs = await self.handle(message, tries)
            except (ContractError, Retry):
                raise
            except Exception as exc:
                if tries < self.attempts:
                    raise
                log.exception("last attempt failed", subject=msg.subject)
                outputs = await self.give_up(msg, message, f"{type(exc).__name__}: {exc}")
        for output in outputs:
            await self.store(self.bus, output)
