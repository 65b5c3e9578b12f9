"""One connection to a capture socket: sound goes out, messages come in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode

from client.api import explain
from client.errors import ServerError, UnreachableError, ending, refusal
from client.session.sender import Sound

Message = dict[str, Any]
"""A message of the server: a JSON object with a `type`."""

_WELCOME_WITHIN = 20.0
_PING_EVERY = 15.0
# With live sound a dead line is to be noticed before the sound that is kept has no more room. An upload has time, and
# a server that is full stops reading its socket, where our pings wait behind up to a minute of sound.
_LIVE_PATIENCE, _UPLOAD_PATIENCE = 40.0, 300.0
_CLOSE_PATIENCE = 3.0
# The last message carries the transcript of the whole meeting.
_LARGEST_MESSAGE = 64 * 2**20
# `next_sample` tells what is stored; after this time it is on disk too, as everything that a server acks.
_ON_DISK = 1.0


async def converse(ws_url: str, sound: Sound, *, keepalive: float) -> AsyncGenerator[Message, None]:
    """Send `sound` from where the server goes on, yield every message until the summary.

    Raises UnreachableError or UnavailableError where another connection may do better, JobClosedError when the job
    takes no more sound, any other ServerError when that was all; and what broke the source, once the sound before that
    is sent. Closing the generator leaves the job to the server.
    """
    socket = await _open(ws_url, sound)
    loop = asyncio.get_running_loop()
    timer = loop.call_later(_WELCOME_WITHIN, socket.transport.abort)  # not a close: the job is to wait for us
    sender: asyncio.Task[None] | None = None
    error: Message | None = None
    finished = False
    try:
        async for text in socket:
            message = _parse(text)
            match message["type"]:
                case "connection_success" if sender is None:
                    start = _sample(message, "next_sample")
                    sound.tail.resume(start)
                    timer.cancel()
                    timer = loop.call_later(_ON_DISK, sound.ack, start)
                    sender = asyncio.create_task(_send(socket, sound, keepalive))
                case "ack":
                    sound.ack(_sample(message, "samples"))
                case "error":
                    error = message
                case "final_summary":
                    finished = True
            yield message
    except ConnectionClosed:
        pass  # an abnormal end; the close code tells which
    finally:
        timer.cancel()
        if sender is not None:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        await socket.close()  # with 1000, if it is still open: the job is not to wait for us to come back
    if sound.error is not None and socket.close_code == CloseCode.NORMAL_CLOSURE:
        raise sound.error
    if not finished:
        raise ending(socket.close_code, socket.close_reason, error)
    if not sound.all_sent:
        raise ServerError("the server ended the capture before all of the sound was sent")


async def _open(ws_url: str, sound: Sound) -> ClientConnection:
    try:
        return await connect(
            str(httpx.URL(ws_url).copy_set_param("sample", sound.tail.acked)),
            compression=None,
            ping_interval=_PING_EVERY,
            ping_timeout=_LIVE_PATIENCE if sound.paced else _UPLOAD_PATIENCE,
            close_timeout=_CLOSE_PATIENCE,
            max_size=_LARGEST_MESSAGE,
        )
    except InvalidStatus as exc:
        raise refusal(exc.response.status_code, bytes(exc.response.body or b""), exc.response.headers) from exc
    except (InvalidHandshake, OSError, TimeoutError) as exc:
        raise UnreachableError(f"cannot open {ws_url}: {explain(exc)}") from exc
    except (InvalidURI, httpx.InvalidURL, ValueError) as exc:
        raise ServerError(f"the server gave a ws_url that is none: {ws_url}") from exc


def _parse(text: str | bytes) -> Message:
    try:
        message = json.loads(text)
        message["type"]
    except (ValueError, TypeError, LookupError) as exc:
        raise ServerError(f"the server sent something that is no JSON object with a type: {text[:80]!r}") from exc
    return dict(message)


def _sample(message: Message, name: str) -> int:
    value = message.get(name)
    if not isinstance(value, int):
        kind = message["type"]
        raise ServerError(f"the server gave a {kind} that breaks the contract: {name}: {value!r} is no sample index")
    return value


async def _send(socket: ClientConnection, sound: Sound, keepalive: float) -> None:
    """Send sound until its end, and say so, or leave if its source broke."""
    alive = asyncio.create_task(_keep_alive(socket, keepalive))
    try:
        while frame := await sound.next_frame():
            await socket.send(frame)  # waits while the server does not read
            await asyncio.sleep(0)  # lets the messages of the server be read
        if sound.error is None:
            await socket.send(json.dumps({"command": "stop"}))
        else:
            await socket.close()
    except ConnectionClosed:
        pass  # whoever reads the messages learns why
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)


async def _keep_alive(socket: ClientConnection, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await socket.send(json.dumps({"command": "keepalive"}))
