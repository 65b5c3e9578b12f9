"""A connection for who only reads: it leaves the streams as they are, whatever the settings of this program say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from bus.stream import Bus
from bus.topology import StreamSettings


class Reader(Bus):
    """A bus whose streams must be there already. Once connected it waits out any absence of the server, as a Bus does.

    `within`: seconds that the first connection may take. Raises ValueError for what is no address.
    """

    def __init__(self, url: str, *, name: str = "reader", within: float = 10.0) -> None:
        super().__init__(check_address(url), name=name, streams=StreamSettings.model_construct())
        self._within = within

    async def connect(self) -> None:
        """Connect; raises ConnectionError that says why there is no such bus."""
        try:
            async with asyncio.timeout(self._within):
                await self._open()
                self.trouble = None
                found = await self.until_done(self._has_streams, "JetStream does not answer")
        except (nats.errors.Error, TimeoutError) as exc:
            raise ConnectionError(f"cannot reach NATS at {self.url}: {self._why()}") from exc
        if not found:
            raise ConnectionError(
                f"NATS at {self.url} has no stream EVENTS: it is no Stenobus bus, or none of its parts has run yet"
            )
        self.connected.set()

    async def _on_error(self, exc: Exception) -> None:
        # Before it is connected `connect` says why; of a line that breaks, the attempts that follow do.
        if self.connected.is_set() and not isinstance(exc, nats.errors.UnexpectedEOF):
            await super()._on_error(exc)

    async def _has_streams(self) -> bool:
        try:
            await self.js.stream_info("EVENTS")
        except nats.js.errors.NotFoundError:
            return False
        return True

    def _why(self) -> str:
        error = self.nc.last_error
        if self.nc.is_connected or error is None:
            return "JetStream does not answer" if self.nc.is_connected else "it does not answer"
        if isinstance(error, OSError) and error.errno:
            # asyncio puts its own words in the place of the system's, a resolver its own numbers
            return (os.strerror(error.errno) if error.errno > 0 else str(error.strerror)).lower()
        return str(error) or type(error).__name__


def check_address(url: str) -> str:
    """Give `url` back; raises ValueError for one that cannot be a NATS server's."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("nats", "tls") and parts.hostname and parts.port != 0:
            return url
    except ValueError:  # a port that is no number
        pass
    raise ValueError(f"{url!r} is not an address like nats://HOST:PORT or tls://HOST:PORT")


@asynccontextmanager
async def reading(url: str, *, name: str = "reader", within: float = 10.0) -> AsyncIterator[Bus]:
    """A bus that is connected, to read from; raises as `Reader` and its `connect` do."""
    bus = Reader(url, name=name, within=within)
    try:
        await bus.connect()
        yield bus
    finally:
        await bus.close()


async def position(bus: Bus, stream: str, since: datetime) -> int:
    """The sequence behind which all is stored that is not older than `since`: what `Bus.read` takes as `after`.

    A consumer that begins at a time is told by the server where that is; this one is never read.
    """
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=since,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=60,
        mem_storage=True,
        num_replicas=1,
    )
    info = await bus.until_done(lambda: bus.js.add_consumer(stream, config), f"{stream} cannot be read")
    with suppress(nats.errors.Error):
        await bus.nc.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{info.name}")
    assert info.delivered is not None  # noqa: S101 - narrows the type: the server always says
    return info.delivered.stream_seq
