"""One connection to a capture socket: audio goes out, messages come in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from http import HTTPStatus

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from client.api import explain
from client.errors import RefusedError, ServerError, UnreachableError, ending, refusal, unexpected
from client.reading import Json, read_message
from client.route import socket_options
from client.session.sender import Sender
from contract import RATE
from contract.socket import Close, SocketAck, SocketCommand, SocketFinalSummary, SocketWelcome
from contract.view import View

WELCOME_WITHIN = 20.0
_PING_EVERY = 15.0
# A live client must notice a dead connection before its backlog is full. An upload has time, and a server that is full
# stops reading its socket, where our pings wait behind up to a minute of audio.
_LIVE_PONG_WITHIN, _UPLOAD_PONG_WITHIN = 40.0, 300.0
_CLOSE_WITHIN = 3.0
# The last message carries the transcript of the whole meeting.
_LARGEST_MESSAGE = 64 * 2**20
# `next_sample` says what is stored; after this time it is on disk too, as everything that is acked.
_ON_DISK = 1.0


async def exchange(ws_url: str, sender: Sender, *, keepalive: float) -> AsyncGenerator[tuple[Json, View | None]]:
    """Send audio from where the server continues; yield every message, as sent and as read, until the summary.

    Raises UnreachableError or UnavailableError where another connection may do better, JobClosedError when the job
    accepts no more audio, any other ServerError when that was all, and what made reading or sending fail, once the
    audio before that is sent. Closing the generator ends the job's audio.
    """
    socket = await _open(ws_url, sender)
    loop = asyncio.get_running_loop()
    timer = loop.call_later(WELCOME_WITHIN, socket.transport.abort)  # no close: the job is to wait for us
    sending: asyncio.Task[None] | None = None
    error: Json | None = None
    finished = False
    stored = 0
    try:
        async for text in socket:
            raw = _parse(text)
            message = read_message(raw)
            match message:
                case SocketWelcome(next_sample=start) if sending is None:
                    sender.backlog.resume(start)
                    stored = start
                    timer.cancel()
                    timer = loop.call_later(_ON_DISK, sender.ack, start)
                    sending = asyncio.create_task(_send(socket, sender, keepalive))
                case SocketAck(samples=samples):
                    sender.ack(samples)
                case SocketFinalSummary():
                    finished = True
                case None if raw["type"] == "error":
                    error = raw
            yield raw, message
    except ConnectionClosed:
        pass  # an abnormal end; the close code says which
    finally:
        timer.cancel()
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])
        await socket.close()  # with 1000, if it is still open: the job is not to wait for us to come back
    if sender.error is not None and socket.close_code == Close.DONE:
        raise sender.error
    if not finished:
        raise ending(socket.close_code, socket.close_reason, error)
    stored = max(stored, sender.backlog.acked)
    if not sender.all_sent or stored < sender.backlog.end:
        at = stored / RATE
        raise ServerError(f"the server ended the capture early: the audio from {at:.1f} s on was not delivered")


async def _open(ws_url: str, sender: Sender) -> ClientConnection:
    try:
        return await connect(
            str(httpx.URL(ws_url).copy_set_param("sample", sender.backlog.acked)),
            compression=None,
            ping_interval=_PING_EVERY,
            ping_timeout=_LIVE_PONG_WITHIN if sender.paced else _UPLOAD_PONG_WITHIN,
            close_timeout=_CLOSE_WITHIN,
            max_size=_LARGEST_MESSAGE,
            **socket_options(ws_url),
        )
    except InvalidStatus as exc:
        refused = refusal(exc.response.status_code, bytes(exc.response.body or b""), exc.response.headers)
        if isinstance(refused, RefusedError) and refused.detail == HTTPStatus.NOT_FOUND.phrase:
            wanted = "a proxy must forward WebSockets, and the server must know its path prefix (EDGE_ROOT_PATH)"
            raise ServerError(f"there is no capture socket at {ws_url}: {wanted}") from exc
        raise refused from exc
    except (InvalidHandshake, OSError, TimeoutError) as exc:
        raise UnreachableError(f"cannot open {ws_url}: {explain(exc)}") from exc
    except (InvalidURI, httpx.InvalidURL, ValueError) as exc:
        raise ServerError(f"the server sent a ws_url that is not valid: {ws_url}") from exc


def _parse(text: str | bytes) -> Json:
    try:
        message = json.loads(text)
        message["type"]
    except (ValueError, TypeError, LookupError) as exc:
        raise ServerError(f"the server sent something that is no JSON object with a type: {text[:80]!r}") from exc
    return dict(message)


async def _send(socket: ClientConnection, sender: Sender, keepalive: float) -> None:
    """Send audio to its end and say stop, or close the connection if reading failed; failures go to `sender.error`."""
    try:
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(_keep_alive(socket, keepalive))
            while frame := await sender.next_frame():
                await socket.send(frame)  # waits while the server does not read
                await asyncio.sleep(0)  # lets messages be read
            if sender.error is None:
                await _command(socket, SocketCommand(command="stop"))
            else:
                await socket.close()
            beating.cancel()
    except* ConnectionClosed:
        pass  # the close code says why
    except* Exception as failures:  # noqa: BLE001 - the capture must end, whatever it is
        sender.error = unexpected("sending the audio", _first(failures))
        await socket.close()  # or messages would be awaited until the server loses patience


async def _keep_alive(socket: ClientConnection, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await _command(socket, SocketCommand(command="keepalive"))


async def _command(socket: ClientConnection, command: SocketCommand) -> None:
    await socket.send(command.model_dump_json())


def _first(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
