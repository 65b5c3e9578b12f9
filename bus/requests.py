"""Messages that no stream stores: broadcasts, and requests with their answers. Any of them may be lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.micro import add_service
from nats.micro.service import ServiceConfig

from bus.streams import Bus
from contract import ContractError, Message

M = TypeVar("M", bound=Message)


@asynccontextmanager
async def listening(
    bus: Bus, cls: type[M], job: str, handle: Callable[[M], None], *, queue: str = ""
) -> AsyncIterator[None]:
    """Call `handle` with each message of a class while the block runs; job: "*" for all.

    queue: of all listeners that name the same queue, only one gets each message.
    """

    async def on_message(msg: Msg) -> None:
        with suppress(ContractError):
            handle(cls.decode(msg.data))

    subscription = await bus.connection.nc.subscribe(cls.pattern(job), queue=queue, cb=on_message)
    try:
        yield
    finally:
        if not bus.connection.nc.is_closed:
            await subscription.unsubscribe()


@asynccontextmanager
async def answering(bus: Bus, subject: str, answer: Callable[[str], bytes | None]) -> AsyncIterator[None]:
    """Answer requests on `subject` while the block runs.

    answer: gets the job, which is the second token of the subject; returns None to leave the request to others.
    """

    async def on_request(msg: Msg) -> None:
        if (data := answer(msg.subject.split(".")[1])) is not None:
            await msg.respond(data)

    subscription = await bus.connection.nc.subscribe(subject, cb=on_request)
    try:
        yield
    finally:
        if not bus.connection.nc.is_closed:
            await subscription.unsubscribe()


async def ask(bus: Bus, subject: str, timeout: float = 2.0) -> bytes | None:
    """The first answer to a request on `subject`; None if there is none within `timeout` seconds."""
    try:
        return (await bus.connection.nc.request(subject, b"", timeout=timeout)).data
    except (nats.errors.Error, TimeoutError):
        return None


async def announce(bus: Bus, kind: str) -> None:
    """Announce that a worker of this kind is ready: from now on it answers `$SRV.PING.<kind>`, as NATS services do."""
    await add_service(bus.connection.nc, ServiceConfig(name=kind, version=version("stenobus")))
    await bus.connection.flushed()


async def present(bus: Bus, kind: str, timeout: float = 1.0) -> bool:
    """Whether a worker of this kind answers."""
    return await ask(bus, f"$SRV.PING.{kind}", timeout) is not None
