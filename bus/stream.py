"""Messages into the streams and out of them. With its neighbours in this folder the only code that imports nats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Generic, TypeVar

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg
from nats.micro import add_service
from nats.micro.service import ServiceConfig

from bus.backoff import delays
from bus.pull import HEARTBEAT, SLOW_HEARTBEAT, Gone, Pull
from bus.topology import StreamSettings, set_up
from contract import ContractError, Message

log = structlog.get_logger()
T = TypeVar("T")
M = TypeVar("M", bound=Message)

ACK_TIMEOUT = 2.0
"""Seconds to wait for a PubAck. A disk error on the server answers nothing at all, so there must be a limit."""

_WRONG_LAST_SEQUENCE = {10071, 10164}
_READ_BATCH = 256
_STALLED = 1.0
"""Seconds of silence after which a read to the present looks again whether anything is left to come."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it is stored."""

    seq: int
    subject: str
    data: bytes
    time: datetime
    """When it was stored, UTC."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[M]):
    """A message and its sequence in its stream."""

    seq: int
    value: M


class Conflict(Exception):
    """The subject's last message is not the one that the writer had built on; `found` is what is there, if anything."""

    def __init__(self, subject: str, found: Raw | None) -> None:
        super().__init__(f"{subject} has gone on: last sequence {found.seq if found else 'none'}")
        self.found = found


class Bus:
    """A connection to the bus. `trouble` says in one sentence why it cannot be used now, or is None."""

    def __init__(self, url: str, *, name: str = "stenobus", streams: StreamSettings | None = None) -> None:
        self.url = url
        self.name = name
        self.trouble: str | None = "not connected yet"
        self.connected = asyncio.Event()
        self.stopping = asyncio.Event()
        self.nc = Client()
        self.js: JetStreamContext = self.nc.jetstream(timeout=ACK_TIMEOUT)
        self.reconnected: set[Callable[[], None]] = set()
        self._streams = streams or StreamSettings()

    async def connect(self) -> None:
        """Connect and set the streams up; waits, with backoff, for as long as the server is away."""
        await self._open()
        await self.until_done(lambda: set_up(self.js, self._streams), "streams cannot be set up")
        self.trouble = None
        self.connected.set()
        log.info("bus connected", url=self.url)

    async def _open(self) -> None:
        await self.nc.connect(
            self.url,
            name=self.name,
            inbox_prefix=f"_INBOX_{self.name}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type] # the annotation says int, the code sleeps it
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
        )

    async def close(self) -> None:
        """Send what is buffered and disconnect."""
        if self.nc.is_connected:
            with suppress(nats.errors.Error, TimeoutError):
                await self.nc.flush(2)  # drain() can wait 30 s for pull subscriptions
        await self.nc.close()

    async def alive(self, timeout: float) -> bool:
        """Whether the server answers within `timeout` seconds, or is known to be away and being looked for."""
        if not self.nc.is_connected:
            return not self.nc.is_closed
        try:
            await self.nc.flush(timeout)  # type: ignore[arg-type] # as above
        except nats.errors.Error:
            return not self.nc.is_connected and not self.nc.is_closed
        return True

    async def _on_error(self, exc: Exception) -> None:
        if not self.nc.is_connected:
            text = f"NATS at {self.url} cannot be reached: {str(exc) or type(exc).__name__}"
            if text != self.trouble:
                log.warning("waiting for the bus", reason=text)
            self.trouble = text
        else:
            log.error("bus error", error=repr(exc))

    async def _on_disconnected(self) -> None:
        self.trouble = f"NATS at {self.url} has closed the connection"

    async def _on_reconnected(self) -> None:
        self.trouble = None
        log.info("bus reconnected", url=self.url)
        for wake in list(self.reconnected):
            wake()

    async def until_done(self, action: Callable[[], Awaitable[T]], what: str) -> T:
        """Repeat while the bus is away or slow. What cannot get better by waiting is raised."""
        retry_in, warned = delays(0.1, 2.0), False
        while True:
            try:
                if self.nc.is_connected:
                    return await action()
            except nats.js.errors.BadRequestError:
                raise
            except nats.errors.MaxPayloadError as exc:
                raise ContractError("message larger than the server takes") from exc
            except (nats.errors.Error, TimeoutError) as exc:
                if not warned:
                    log.warning("bus: " + what + ", trying again", reason=str(exc) or type(exc).__name__)
                    warned = True
            await asyncio.sleep(next(retry_in))

    async def publish(self, message: Message) -> int:
        """Store a message and return its sequence; not before it is stored. 0 for a message that no stream keeps."""
        if message.STREAM is None:
            with suppress(nats.errors.Error):
                await self.nc.publish(message.subject, message.encode())
            return 0
        return await self.store(message.subject, message.encode())

    async def create(self, message: Message) -> bool:
        """Store a message unless its subject has one; False: something is there already."""
        try:
            await self.store(message.subject, message.encode(), after=0)
        except Conflict:
            return False
        return True

    async def append(self, message: Message, after: int) -> int:
        """Store a message if sequence `after` is still the last of its subject (0: none), else raise Conflict."""
        return await self.store(message.subject, message.encode(), after=after)

    async def store(self, subject: str, data: bytes, *, after: int | None = None) -> int:
        """Store bytes, if `after` is given only as `append` does; returns their sequence."""
        headers = None if after is None else {"Nats-Expected-Last-Subject-Sequence": str(after)}
        attempts = 0

        async def attempt() -> int:
            nonlocal attempts
            attempts += 1
            return (await self.js.publish(subject, data, headers=headers)).seq

        try:
            return await self.until_done(attempt, f"{subject} cannot be stored")
        except nats.js.errors.BadRequestError as exc:
            if exc.err_code not in _WRONG_LAST_SEQUENCE:
                raise ContractError(f"{subject} refused: {exc.description}") from exc
        found = await self.last_raw(subject)
        if attempts > 1 and found is not None and found.data == data:
            return found.seq  # an earlier attempt had been stored and only its ack was lost
        raise Conflict(subject, found)

    async def last_raw(self, subject: str) -> Raw | None:
        """The last message on a subject, read from the stream's leader."""
        return await self._get(lambda: self.js.get_msg(_stream_of(subject), subject=subject), subject)

    async def stored(self, stream: str, seq: int) -> Raw | None:
        """The message with a sequence, if the stream still has it."""
        return await self._get(lambda: self.js.get_msg(stream, seq), f"{stream} {seq}")

    async def _get(self, get: Callable[[], Awaitable[RawStreamMsg]], what: str) -> Raw | None:
        async def read() -> Raw | None:
            try:
                found = await get()
            except nats.js.errors.NotFoundError:
                return None
            assert found.subject and found.time  # noqa: S101, PT018 - narrows the types: the server names them all
            return Raw(found.seq or 0, found.subject, found.data or b"", found.time)

        return await self.until_done(read, f"{what} cannot be read")

    async def last(self, cls: type[M], subject: str) -> Stored[M] | None:
        """The last message on a subject, decoded; raises ContractError."""
        raw = await self.last_raw(subject)
        return None if raw is None else Stored(raw.seq, cls.decode(raw.data))

    async def history(self, stream: str, subject: str, *, after: int = 0) -> list[Raw]:
        """All that is stored under a subject filter now, behind sequence `after`, in order."""
        found: list[Raw] = []
        async for raw in self.read(stream, subject, after=after, live=False):
            found.append(raw)  # noqa: PERF401 - an asynchronous comprehension would hide that this is a read to the end
        return found

    async def subjects(self, stream: str, subject: str) -> list[str]:
        """The subjects under a filter that have a message, in order."""
        info = await self.until_done(
            lambda: self.js.stream_info(stream, subjects_filter=subject), f"{stream} cannot be read"
        )
        return sorted(info.state.subjects or {})

    async def latest(self, stream: str, subject: str) -> list[Raw]:
        """The last message of each subject under a filter, in order of the subjects."""
        found = [await self.last_raw(name) for name in await self.subjects(stream, subject)]
        return [raw for raw in found if raw is not None]

    async def read(self, stream: str, subject: str, *, after: int = 0, live: bool = True) -> AsyncGenerator[Raw, None]:
        """Yield what is stored under a subject filter behind sequence `after`, in order, then what comes.

        Each message once, with no gap, also across a restart of the server. Without `live` it ends at the present.
        """
        pull, position = Pull(self.nc, SLOW_HEARTBEAT if live else HEARTBEAT), after
        self.reconnected.add(pull.interrupt)
        try:
            while True:
                new_reader = partial(self._new_reader, stream, subject, position + 1)
                pending, name = await self.until_done(new_reader, f"{stream} cannot be read")
                delivered = 0
                try:
                    if not live and not pending:
                        return
                    await pull.open(stream, name)
                    while True:
                        # What was still to come may have been removed meanwhile, and then nothing says that it ends.
                        async with asyncio.timeout(None if live else _STALLED):
                            msg = await pull.next(lambda: _READ_BATCH)
                        at = msg.metadata.sequence
                        if at.consumer != delivered + 1:
                            raise Gone("a message was lost on the way")
                        delivered, position = at.consumer, at.stream
                        yield Raw(position, msg.subject, msg.data, msg.metadata.timestamp)
                        if not live and not msg.metadata.num_pending:
                            return
                except (Gone, TimeoutError, nats.errors.Error) as exc:
                    log.debug("reader starts again", stream=stream, subject=subject, reason=str(exc))
                finally:
                    # Nobody waits for it: where this is lost the consumer ends by its inactivity.
                    with suppress(nats.errors.Error):
                        await self.nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{name}")
        finally:
            self.reconnected.discard(pull.interrupt)
            await pull.close()

    @asynccontextmanager
    async def listening(
        self, cls: type[M], job: str, take: Callable[[M], None], *, queue: str = ""
    ) -> AsyncIterator[None]:
        """While the block runs, call `take` with each message of a class that is not stored; some may be missed.

        Of all who name the same `queue` one gets each message.
        """

        async def on_message(msg: Msg) -> None:
            with suppress(ContractError):
                take(cls.decode(msg.data))

        subscription = await self.nc.subscribe(cls.pattern(job), queue=queue, cb=on_message)
        try:
            yield
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def _new_reader(self, stream: str, subject: str, start: int) -> tuple[int, str]:
        info = await self.js.add_consumer(
            stream,
            ConsumerConfig(
                filter_subject=subject,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=60,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        return info.num_pending or 0, info.name

    @asynccontextmanager
    async def answering(self, subject: str, answer: Callable[[str], bytes | None]) -> AsyncIterator[None]:
        """While the block runs, answer requests on `subject`, whose second token is a job; None: leave it to others."""

        async def on_request(msg: Msg) -> None:
            if (data := answer(msg.subject.split(".")[1])) is not None:
                await msg.respond(data)

        subscription = await self.nc.subscribe(subject, cb=on_request)
        try:
            yield
        finally:
            if not self.nc.is_closed:
                await subscription.unsubscribe()

    async def flushed(self) -> None:
        """Return once the server has dealt with all that was said on this connection."""
        # nats-py writes a flush's PING past what it has queued itself (2.16): only a second one comes behind all that.
        await self.nc.flush()
        await self.nc.flush()

    async def answered(self, subject: str, timeout: float = 2.0) -> bool:
        """Whether anybody answers a request on `subject`."""
        return await self.ask(subject, timeout) is not None

    async def ask(self, subject: str, timeout: float = 2.0) -> bytes | None:
        """The first answer to a request on `subject`; None if there is none within `timeout` seconds."""
        try:
            return (await self.nc.request(subject, b"", timeout=timeout)).data
        except (nats.errors.Error, TimeoutError):
            return None

    async def announce(self, kind: str) -> None:
        """Say that a worker of this kind is ready: it answers `$SRV.PING.<kind>`, as NATS services do."""
        await add_service(self.nc, ServiceConfig(name=kind, version=version("stenobus")))
        await self.flushed()

    async def present(self, kind: str, timeout: float = 1.0) -> bool:
        """Whether a worker of this kind answers."""
        return await self.answered(f"$SRV.PING.{kind}", timeout)


def _stream_of(subject: str) -> str:
    return subject.split(".", 1)[0].upper()


@asynccontextmanager
async def connect(url: str, *, name: str = "stenobus", streams: StreamSettings | None = None) -> AsyncIterator[Bus]:
    """A bus that is connected, with its streams set up."""
    bus = Bus(url, name=name, streams=streams)
    try:
        await bus.connect()
        yield bus
    finally:
        await bus.close()
