"""Work from a shared durable consumer: a message is lent to one worker, which settles it once its output is stored.

Publish, then ack: an ack means "my output is stored". Outputs are created on deterministic subjects, so doing a message
twice is harmless. Bad news has three outcomes: dead-lettered (ContractError), lent again (Retry, or any other
exception), and after the last attempt a value that says it failed, so that no reader waits on a hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from bus.messages import ContractError, Dead, Message, dead_letter
from bus.pull import Gone, Pull
from bus.stream import Bus

log = structlog.get_logger()
M = TypeVar("M", bound=Message)

_MAX_BATCH = 64
_MAX_BACKOFF = 30.0
_DEATHS = 3
"""A worker that is stopped in good order uses up a delivery too, so only this many times `attempts` deliveries without
any outcome mean that the message kills its workers."""

Outputs = Sequence[Message]


class Retry(Exception):
    """Lend this message again after so many seconds; does not count as a failure of the message."""

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
    at_once: int = 1,
    ack_wait: float = 30.0,
    attempts: int | None = None,
    failed: Callable[[M, str], Outputs] | None = None,
) -> None:
    """Handle each message of a class until `bus.stopping`; stores what `handle` returns, then acks.

    `at_once`: messages in hand at the same time. `ack_wait`: seconds after which the messages of a dead worker are lent
    to another. `attempts`: after so many deliveries `failed(message, reason)` is stored in place of a result, beside a
    `Dead`; None: no limit.
    """

    async def ignore_epoch(message: M, _epoch: int) -> Outputs:
        return await handle(message)

    await _Worker(bus, cls, ignore_epoch, durable, at_once, ack_wait, attempts, failed).run()


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
    await _Worker(bus, cls, own, durable, at_once, ack_wait, None, None).run()


@dataclass(slots=True, eq=False)
class _Lent:
    """A message in hand: its newest delivery, and the task at work on it."""

    msg: Msg
    task: asyncio.Task[None] | None = None

    async def answer(self, answer: Callable[[Msg], Awaitable[None]]) -> None:
        """Settle it. Where the connection is away the answer is lost, and the message is lent again in `ack_wait`."""
        with suppress(nats.errors.Error):
            await answer(self.msg)


@dataclass
class _Worker(Generic[M]):
    bus: Bus
    cls: type[M]
    handle: Callable[[M, int], Awaitable[Outputs]]
    durable: str
    at_once: int
    ack_wait: float
    attempts: int | None
    failed: Callable[[M, str], Outputs] | None
    _in_hand: dict[int, _Lent] = field(default_factory=dict)
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
            for task in (*work, stop):
                task.cancel()
            results = await asyncio.gather(*work, return_exceptions=True)
            for msg in await pull.close():
                await _Lent(msg).answer(Msg.nak)
            tasks = [lent.task for lent in self._in_hand.values() if lent.task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
            filter_subject=self.cls.pattern(),
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
                    while len(self._in_hand) >= self.at_once:
                        self._room.clear()
                        await self._room.wait()
                    self._lend(await pull.next(lambda: min(self.at_once - len(self._in_hand), _MAX_BATCH)))
            except (Gone, nats.errors.Error) as exc:
                log.debug("consumer starts again", durable=self.durable, reason=str(exc))

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self.ack_wait / 3)
            for lent in list(self._in_hand.values()):
                await lent.answer(Msg.in_progress)

    def _lend(self, msg: Msg) -> None:
        seq = msg.metadata.sequence.stream
        if seq in self._in_hand:
            # Our heartbeat was lost, nobody else's work began: go on, and answer to the newer delivery.
            self._in_hand[seq].msg = msg
        else:
            lent = self._in_hand[seq] = _Lent(msg)
            lent.task = asyncio.create_task(self._take(seq, lent))

    async def _take(self, seq: int, lent: _Lent) -> None:
        msg = lent.msg
        try:
            await self._work(msg)
            await lent.answer(Msg.ack)
        except asyncio.CancelledError:
            await lent.answer(Msg.nak)
            raise
        except ContractError as exc:
            log.warning("dead letter", subject=msg.subject, reason=str(exc))
            await self.bus.create(self._dead(msg, str(exc)))
            await lent.answer(Msg.term)
        except Fenced as exc:
            log.warning("lease lost", subject=msg.subject, reason=str(exc))
        except Retry as exc:
            delay = exc.after
            await lent.answer(lambda msg: msg.nak(delay))
        except Exception as exc:  # one message's failure, whatever it is, is not another's
            tries = msg.metadata.num_delivered
            log.warning("attempt failed", subject=msg.subject, attempt=tries, error=repr(exc), exc_info=True)
            delay = min(0.2 * 2 ** min(tries, 20), _MAX_BACKOFF)
            await lent.answer(lambda msg: msg.nak(delay))
        finally:
            del self._in_hand[seq]
            self._room.set()

    async def _work(self, msg: Msg) -> None:
        message, tries = self.cls.decode(msg.data), msg.metadata.num_delivered
        if message.subject != msg.subject:
            raise ContractError(f"addressed to {message.subject} but published on {msg.subject}")
        if self.attempts is None or self.failed is None:
            outputs = await self.handle(message, tries)
        elif tries > self.attempts * _DEATHS:
            outputs = self._give_up(msg, message, f"no worker survived it in {tries - 1} attempts")
        else:
            try:
                outputs = await self.handle(message, tries)
            except (ContractError, Retry):
                raise
            except Exception as exc:
                if tries < self.attempts:
                    raise
                log.exception("last attempt failed", subject=msg.subject)
                outputs = self._give_up(msg, message, f"{type(exc).__name__}: {exc}")
        for output in outputs:
            await self.bus.create(output)

    def _give_up(self, msg: Msg, message: M, reason: str) -> Outputs:
        assert self.failed is not None  # noqa: S101 - narrows the type; the only caller has looked
        return [*self.failed(message, reason), self._dead(msg, reason)]

    def _dead(self, msg: Msg, reason: str) -> Dead:
        at = msg.metadata
        return dead_letter(at.stream, at.sequence.stream, msg.subject, reason)
