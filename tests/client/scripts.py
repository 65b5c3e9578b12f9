"""What servers do whose connections break, and captures against them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from client.reading import Json
from client.session.capture import capture
from tests.client.server import ScriptedServer, segment

MEETING = b"".join(bytes([number]) * 16_000 for number in range(10))
"""Five seconds, each half of which sounds different."""

Script = Callable[[ScriptedServer], Awaitable[None]]


async def chunks(*sound: bytes) -> AsyncIterator[bytes]:
    for chunk in sound:
        yield chunk


async def collect(
    *servers: str, sound: AsyncIterator[bytes] | None = None, messages: list[Json] | None = None, **options: Any
) -> list[Json]:
    """All messages, also put into `messages`, for when it ends badly."""
    messages = [] if messages is None else messages
    async for message in capture(servers, sound or chunks(MEETING), **({"fast": True} | options)):
        messages.append(message)
    return messages


def one_after_the_other(*scripts: Script) -> Script:
    """A script for each connection; the last one also for all that follow."""

    async def script(server: ScriptedServer) -> None:
        await scripts[min(server.connections, len(scripts)) - 1](server)

    return script


async def breaks(server: ScriptedServer) -> None:
    """Stores three seconds, acks two of them, and breaks."""
    await server.hello()
    await server.take(3)
    await server.say(type="ack", samples=32_000)
    await server.say(**segment(0, "Good morning."))
    await server.receive()
    server.abort()


async def goes_on(server: ScriptedServer) -> None:
    """Has all three seconds, tells everything again, and takes the rest."""
    await server.hello(48_000)
    await server.say(**segment(0, "Good morning."))
    await server.listen()
    await server.say(**segment(1, "Good night."))
    await server.finish()
