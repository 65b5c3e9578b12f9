"""Messages into the streams and out of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

import nats.errors
import nats.js.errors
import structlog
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, RawStreamMsg

from bus.connection import ACK_TIMEOUT, Connection, ReadOnlyConnection
from bus.pull import HEARTBEAT, SLOW_HEARTBEAT, Gone, Pull
from bus.topology import StreamSettings
from contract import ContractError, Message

log = structlog.get_logger()
M = TypeVar("M", bound=Message)

_WRONG_LAST_SEQUENCE = {10071, 10164}
_READ_BATCH = 256
_STALLED = 1.0
"""Seconds of silence after which a read to the present checks again whether anything is left to come."""


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
    """The last message of the subject is not the one that the writer expected; `found` is the actual one, if any."""

    def __init__(self, subject: str, found: Raw | None) -> None:
        super().__init__(f"{subject} has gone on: last sequence {found.seq if found else 'none'}")
        self.found = found


class Bus:
    """Stores messages and reads them. `stopping` is set when this process has been asked to stop.

    Every method waits while the server is away; see `Connection.until_done`. Messages that no stream stores are the
    business of `requests.py`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stopping = asyncio.Event()

    async def publish(self, message: Message) -> int:
        """Store a message and return its sequence; send one that no stream stores and return 0."""
        if message.STREAM is None:
            with suppress(nats.errors.Error):
                await self.connection.nc.publish(message.subject, message.encode())
            return 0
        return await self.store(message.subject, message.encode())

    async def create(self, message: Message) -> bool:
        """Store a message unless its subject has one already; returns whether it was stored."""
        try:
            await self.store(message.subject, message.encode(), after=0)
        except Conflict:
            return False
        return True

    async def append(self, message: Message, after: int) -> int:
        """Store a message if sequence `after` is still the last of its subject (0: none), else raise Conflict."""
        return await self.store(message.subject, message.encode(), after=after)

    async def replace(self, message: Message) -> None:
        """Replace all messages on a subject of EVENTS by this one in one step: readers find the old or the new.

        Source: the header Nats-Rollup, with which the key-value store of NATS purges a key (ADR-8).
        """
        headers = {"Nats-Rollup": "sub"}
        await self.connection.until_done(
            lambda: self.connection.js.publish(message.subject, message.encode(), headers=headers),
            f"{message.subject} cannot be replaced",
        )

    async def store(self, subject: str, data: bytes, *, after: int | None = None) -> int:
        """Store bytes and return their sequence; with `after` on the same condition as `append`."""
        headers = None if after is None else {"Nats-Expected-Last-Subject-Sequence": str(after)}
        attempts = 0

        async def attempt() -> int:
            nonlocal attempts
            attempts += 1
            return (await self.connection.js.publish(subject, data, headers=headers)).seq

        try:
            return await self.connection.until_done(attempt, f"{subject} cannot be stored")
        except nats.js.errors.BadRequestError as exc:
            if exc.err_code not in _WRONG_LAST_SEQUENCE:
                raise ContractError(f"{subject} refused: {exc.description}") from exc
        found = await self.last_raw(subject)
        if attempts > 1 and found is not None and found.data == data:
            return found.seq  # an earlier attempt was stored, and only its ack was lost
        raise Conflict(subject, found)

    async def purge(self, stream: str, subject: str) -> int:
        """Remove the messages under a subject filter; returns how many there were, which nats-py does not."""
        request = json.dumps({"filter": subject}).encode()

        async def purge() -> int:
            answer = await self.connection.nc.request(f"$JS.API.STREAM.PURGE.{stream}", request, timeout=ACK_TIMEOUT)
            result = json.loads(answer.data)
            if "error" in result:
                raise nats.errors.Error(f"{stream}: {result['error'].get('description')}")
            return int(result["purged"])

        return await self.connection.until_done(purge, f"{subject} cannot be removed")

    async def last_raw(self, subject: str) -> Raw | None:
        """The last message on a subject, read from the stream's leader."""
        js, stream = self.connection.js, subject.split(".", 1)[0].upper()
        return await self._get(lambda: js.get_msg(stream, subject=subject), subject)

    async def last(self, cls: type[M], subject: str) -> Stored[M] | None:
        """The last message on a subject, decoded; raises ContractError."""
        raw = await self.last_raw(subject)
        return None if raw is None else Stored(raw.seq, cls.decode(raw.data))

    async def stored(self, stream: str, seq: int) -> Raw | None:
        """The message with this sequence, if the stream still has it."""
        return await self._get(lambda: self.connection.js.get_msg(stream, seq), f"{stream} {seq}")

    async def first_raw(self, stream: str, subject: str, seq: int = 1) -> Raw | None:
        """The first message on a subject with this sequence or a later one."""
        return await self._get(lambda: self.connection.js.get_msg(stream, seq, subject=subject, next=True), subject)

    async def _get(self, get: Callable[[], Awaitable[RawStreamMsg]], what: str) -> Raw | None:
        async def read() -> Raw | None:
            try:
                found = await get()
            except nats.js.errors.NotFoundError:
                return None
            assert found.subject and found.time  # noqa: S101, PT018 - narrows the types: the server always sends them
            return Raw(found.seq or 0, found.subject, found.data or b"", found.time)

        return await self.connection.until_done(read, f"{what} cannot be read")

    async def subjects(self, stream: str, subject: str) -> list[str]:
        """The subjects under a filter that have a message, sorted."""
        info = await self.connection.until_done(
            lambda: self.connection.js.stream_info(stream, subjects_filter=subject), f"{stream} cannot be read"
        )
        return sorted(info.state.subjects or {})

    async def latest(self, stream: str, subject: str) -> list[Raw]:
        """The last message of each subject under a filter, sorted by subject."""
        found = [await self.last_raw(name) for name in await self.subjects(stream, subject)]
        return [raw for raw in found if raw is not None]

    async def history(self, stream: str, subject: str, *, after: int = 0) -> list[Raw]:
        """All messages stored under a subject filter so far, behind sequence `after`, in order."""
        found: list[Raw] = []
        async for raw in self.read(stream, subject, after=after, live=False):
            found.append(raw)  # noqa: PERF401 - an asynchronous comprehension would hide that this is a read to the end
        return found

    async def read(self, stream: str, subject: str, *, after: int = 0, live: bool = True) -> AsyncGenerator[Raw, None]:
        """Yield the messages under a subject filter behind sequence `after`: those stored already, then new ones.

        In order, each once and none left out, also across a restart of the server. Without `live` it ends at the
        present.
        """
        pull, position = Pull(self.connection.nc, SLOW_HEARTBEAT if live else HEARTBEAT), after
        self.connection.reconnected.add(pull.interrupt)
        try:
            while True:
                new_reader = partial(self._new_reader, stream, subject, position + 1)
                info = await self.connection.until_done(new_reader, f"{stream} cannot be read")
                delivered = 0
                try:
                    if not live and not info.num_pending:
                        return
                    await pull.open(stream, info.name)
                    while True:
                        # Messages that were still to come may be removed meanwhile, and then nothing marks the end.
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
                    await self._drop_reader(stream, info)
        finally:
            self.connection.reconnected.discard(pull.interrupt)
            await pull.close()

    async def position(self, stream: str, since: datetime) -> int:
        """The sequence behind which everything stored since a time lies: what `read` takes as `after`.

        The server says where a consumer that starts at a time would begin; this one is never read.
        """
        config = _reader(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since)
        info = await self.connection.until_done(
            lambda: self.connection.js.add_consumer(stream, config), f"{stream} cannot be read"
        )
        await self._drop_reader(stream, info)
        assert info.delivered is not None  # noqa: S101 - narrows the type: the server always sends it
        return info.delivered.stream_seq

    async def _new_reader(self, stream: str, subject: str, start: int) -> ConsumerInfo:
        return await self.connection.js.add_consumer(
            stream,
            _reader(filter_subject=subject, deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start),
        )

    async def _drop_reader(self, stream: str, info: ConsumerInfo) -> None:
        # Nobody waits for it: if it is lost, the server removes the consumer once it has been inactive.
        with suppress(nats.errors.Error):
            await self.connection.nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{info.name}")


_reader = partial(ConsumerConfig, ack_policy=AckPolicy.NONE, inactive_threshold=60, mem_storage=True, num_replicas=1)


@asynccontextmanager
async def connect(url: str, *, name: str = "stenobus", streams: StreamSettings | None = None) -> AsyncIterator[Bus]:
    """A bus that is connected, with its streams set up."""
    async with _open(Connection(url, name=name, streams=streams)) as bus:
        yield bus


@asynccontextmanager
async def reading(url: str, *, name: str = "reader", within: float = 10.0) -> AsyncIterator[Bus]:
    """A bus that is connected and leaves the streams as they are; raises as `ReadOnlyConnection` and its `connect`."""
    async with _open(ReadOnlyConnection(url, name=name, within=within)) as bus:
        yield bus


@asynccontextmanager
async def _open(connection: Connection) -> AsyncIterator[Bus]:
    try:
        await connection.connect()
        yield Bus(connection)
    finally:
        await connection.close()
