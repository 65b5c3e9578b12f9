"""One capture session over the public contract: create a job, send sound, yield what the server says to the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from client.api import Options, create_job, explain
from client.errors import ServerError, UnreachableError, ending, refusal
from client.pace import delay, frame_bytes, take_frames, take_rest

Message = dict[str, Any]
"""A message of the server: a JSON object with a `type`."""

# A server that is full stops reading its socket, and our pings wait behind the sound: patience, not a dead peer.
_PONG_PATIENCE = 300.0
_CLOSE_PATIENCE = 3.0
# The last message carries the transcript of the whole meeting.
_LARGEST_MESSAGE = 64 * 2**20


async def capture(
    server: str,
    source: AsyncIterable[bytes],
    options: Options | None = None,
    *,
    frame_ms: int = 30,
    fast: bool = False,
    stop: asyncio.Event | None = None,
    keepalive: float = 10.0,
) -> AsyncGenerator[Message, None]:
    """Send `source` (chunks of mono 16 kHz s16le of any size) as a new job; yield every message until the end.

    Sound goes out in frames of `frame_ms` in real time, or with `fast` as quickly as the server takes it. Setting
    `stop` ends the sound early; the rest of the transcript and the summary still come. Raises UnreachableError when
    nobody answers, ServerError when the server refuses or the capture ends early, and whatever `source` raises: sound
    whose first chunk cannot be read makes no job. Closing the generator leaves the job to the server.
    """
    chunks = aiter(source)
    head = await anext(chunks, b"")
    sound = _frames(head, chunks, frame_ms, paced=not fast)
    sender: asyncio.Task[None] | None = None
    error: Message | None = None
    finished = False
    socket = await _open(await create_job(server, options or Options()))
    try:
        async for message in _messages(socket):
            if message["type"] == "connection_success" and sender is None:
                sender = asyncio.create_task(_send(socket, sound, stop or asyncio.Event(), keepalive))
            elif message["type"] == "error":
                error = message
            elif message["type"] == "final_summary":
                finished = True
            yield message
        if sender is not None:
            await sender
    finally:
        if sender is not None:
            sender.cancel()
        await socket.close()  # with 1000, whatever happened: the job is not to wait for us to come back
    if not finished:
        raise ending(socket.close_code, socket.close_reason, error)


async def _open(url: str) -> ClientConnection:
    try:
        return await connect(
            url,
            compression=None,
            ping_timeout=_PONG_PATIENCE,
            close_timeout=_CLOSE_PATIENCE,
            max_size=_LARGEST_MESSAGE,
        )
    except InvalidStatus as exc:
        raise refusal(exc.response.status_code, bytes(exc.response.body or b""), exc.response.headers) from exc
    except InvalidURI as exc:
        raise ServerError(f"the server gave a ws_url that is none: {exc}") from exc
    except (InvalidHandshake, OSError, TimeoutError) as exc:
        raise UnreachableError(f"cannot open {url}: {explain(exc)}") from exc


async def _messages(socket: ClientConnection) -> AsyncIterator[Message]:
    try:
        async for text in socket:
            yield _parse(text)
    except ConnectionClosed:
        pass  # an abnormal end; the close code tells which


def _parse(text: str | bytes) -> Message:
    try:
        message = json.loads(text)
        message["type"]
    except (ValueError, TypeError, LookupError) as exc:
        raise ServerError(f"the server sent something that is no JSON object with a type: {text[:80]!r}") from exc
    return dict(message)


async def _frames(head: bytes, chunks: AsyncIterator[bytes], frame_ms: int, *, paced: bool) -> AsyncIterator[bytes]:
    """Cut sound into frames; `paced`: each comes when it is due, else at once."""
    clock = asyncio.get_running_loop().time
    size = frame_bytes(frame_ms)
    buffer = bytearray(head)
    start, index = clock(), 0
    ended = False
    while not ended:
        for frame in take_frames(buffer, size):
            # Even a wait of nothing lets the messages of the server be read.
            await asyncio.sleep(delay(clock(), start, index, frame_ms) if paced else 0)
            yield frame
            index += 1
        chunk = await anext(chunks, None)
        ended = chunk is None
        buffer += chunk or b""
    if rest := take_rest(buffer):
        yield rest


async def _send(socket: ClientConnection, sound: AsyncIterator[bytes], stop: asyncio.Event, keepalive: float) -> None:
    """Send sound until it ends, or `stop` is set, or the socket closes; then say so. Raises what `sound` raises."""
    sending = asyncio.create_task(_send_sound(socket, sound))
    others = [
        asyncio.create_task(stop.wait()),
        asyncio.create_task(socket.wait_closed()),
        asyncio.create_task(_keep_alive(socket, keepalive)),
    ]
    try:
        await asyncio.wait([sending, *others], return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
        await socket.send(json.dumps({"command": "stop"}))
    except ConnectionClosed:
        pass  # whoever reads the messages learns why
    except Exception:
        await socket.close()
        raise
    finally:
        for task in (sending, *others):
            task.cancel()
        await asyncio.gather(sending, *others, return_exceptions=True)


async def _send_sound(socket: ClientConnection, sound: AsyncIterator[bytes]) -> None:
    async for frame in sound:
        await socket.send(frame)  # waits while the server does not read


async def _keep_alive(socket: ClientConnection, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await socket.send(json.dumps({"command": "keepalive"}))
