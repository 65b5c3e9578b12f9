"""The capture socket: moves bytes between a client, the bus and the session that decides."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import MutableMapping
from contextlib import aclosing, suppress
from typing import Any, Literal

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from audio import AudioError, Converter
from bus import AudioTrack, ContractError, parse_event
from bus.messages import Closed, Completed, Opened, Progress
from edge.services import Services
from edge.session import Command, ProtocolError, Reply, Session
from store.job import Job
from store.jobs import StoreError

log = structlog.get_logger()

TICK = 0.5
"""Seconds between acks. An ack trails by one tick, more than two of the server's sync intervals of 200 ms: what a
client is told is durable has then reached the disk, and not only the page cache."""

Reason = Literal["stop", "disconnect"]


class Refusal(Exception):
    """The connection cannot have the job. `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str, close: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close = close
        self.retry_after = retry_after

    def reply(self) -> Reply:
        """The message that tells the client."""
        reply: Reply = {"type": "error", "code": self.code, "message": str(self)}
        return reply if self.retry_after is None else reply | {"retry_after": self.retry_after}


async def capture(websocket: WebSocket) -> None:
    """`WS /api/v1/stream/{job_id}`: audio in, acks, transcript segments and the summary out."""
    services: Services = websocket.app.state.services
    await websocket.accept()
    try:
        job = await _claim(services, websocket.path_params["job_id"])
    except Refusal as refusal:
        await _last_words(websocket, refusal.reply(), refusal.close)
        return
    with structlog.contextvars.bound_contextvars(job=job.job):
        await Capture(websocket, services, job).run()


async def _claim(services: Services, job_id: str) -> Job:
    """Open the job for this connection, and for no other; raises Refusal."""
    retry_after = services.settings.retry_after
    try:
        job = await services.store.get(job_id)
        if job is None:
            raise Refusal("unknown_job", f"no job {job_id!r}: create one first", 4004)
        if services.publisher is None or services.bus.trouble:
            raise Refusal("unavailable", services.bus.trouble or "the bus is being set up", 1013, retry_after)
        async with asyncio.timeout(services.settings.answer_within):
            opened = Opened(job=job.job, connection=uuid.uuid4().hex, options=job.options)
            if await services.bus.create(opened):
                services.advance(job.job, "streaming")
                return job
            if await services.bus.last_raw(Closed.pattern(job.job)):
                raise Refusal("job_closed", "this job has been closed already: create another", 4009)
            raise Refusal("job_in_use", "this job has a connection already: create another job", 1008)
    except StoreError as exc:
        raise Refusal("unavailable", str(exc), 1013, retry_after) from exc
    except TimeoutError as exc:
        reason = services.bus.trouble or "the bus does not answer"
        raise Refusal("unavailable", reason, 1013, retry_after) from exc


class Capture:
    """One connection that has its job."""

    def __init__(self, websocket: WebSocket, services: Services, job: Job) -> None:
        assert services.publisher is not None  # noqa: S101 - a claimed job has one
        self._websocket = websocket
        self._services = services
        self._bus = services.bus
        self._job = job.job
        self._session = Session(job.job, job.options)
        self._converter = Converter(job.options.encoding, job.options.sample_rate)
        self._track: AudioTrack = services.publisher.track(job.job)
        self._stored_at = 0.0

    async def run(self) -> None:
        """Serve the connection to its end. The job ends well whatever becomes of the connection."""
        log.info("capture begins")
        async with self._bus.listening(Progress, self._job, self._session.on_progress):
            events, ticks = asyncio.create_task(self._tell_events()), asyncio.create_task(self._tell_regularly())
            try:
                reason = await self._receive()
                await self._close(reason)
                if reason == "stop":
                    await self._wait_for_the_end(events)
            finally:
                for task in (events, ticks):
                    task.cancel()
                await asyncio.gather(events, ticks, return_exceptions=True)
                if self._services.publisher is not None:
                    self._services.publisher.forget(self._track)

    async def _receive(self) -> Reason:
        """Take audio and commands until the client stops or is gone."""
        try:
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return "disconnect"
                try:
                    if await self._take(message) == "stop":
                        return "stop"
                except ProtocolError as error:
                    if error.close is not None:
                        await _last_words(self._websocket, error.reply(), error.close)
                        return "disconnect"
                    await self._send(error.reply())
        except Exception:
            log.exception("capture failed")
            reply: Reply = {"type": "error", "code": "internal", "message": "the server failed; what was acked is kept"}
            await _last_words(self._websocket, reply, 1011)
            return "disconnect"

    async def _take(self, message: MutableMapping[str, Any]) -> Command | None:
        data = message.get("bytes")
        if data is None:
            return self._session.command(message["text"])
        self._session.check_audio(data)
        try:
            pcm = self._converter.push(data)
        except AudioError as exc:
            raise ProtocolError("not_audio", str(exc), 1008) from exc
        if pcm:
            # While the window is full this waits, nothing is received, and TCP makes the client wait too.
            await self._track.send(pcm)
        return None

    async def _close(self, reason: Reason) -> None:
        """No more audio: store what is left of it, then say so on the bus."""
        if left := self._converter.flush():
            await self._track.send(left)
        samples = await self._track.finish()
        self._stored_at = asyncio.get_running_loop().time()
        await self._bus.create(Closed(job=self._job, samples=samples, reason=reason))
        self._services.advance(self._job, "transcribing")
        log.info("capture closed", reason=reason, samples=samples)

    async def _wait_for_the_end(self, events: asyncio.Task[None]) -> None:
        """After the command stop: until all is told, or the client is gone. Sound that still comes is refused."""
        receiving = asyncio.create_task(self._receive())
        await asyncio.wait([events, receiving], return_when=asyncio.FIRST_COMPLETED)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)

    async def _tell_events(self) -> None:
        """Tell what is published about the job; ends with the summary, and then closes the socket."""
        await self._send(self._session.welcome())
        async with aclosing(self._bus.read("EVENTS", f"events.{self._job}.>")) as stored:
            async for raw in stored:
                try:
                    message = parse_event(raw.subject, raw.data)
                except ContractError as exc:
                    log.warning("event not understood", subject=raw.subject, reason=str(exc))
                    continue
                if isinstance(message, Completed):
                    await self._tell_all_is_stored()
                for reply in self._session.on_event(message) if message else ():
                    await self._send(reply)
                if isinstance(message, Completed):
                    break
        with suppress(RuntimeError, WebSocketDisconnect):
            await self._websocket.close(1000)

    async def _tell_all_is_stored(self) -> None:
        await asyncio.sleep(max(0.0, self._stored_at + TICK - asyncio.get_running_loop().time()))
        await self._send(self._session.ack(self._track.stored, complete=True))

    async def _tell_regularly(self) -> None:
        stored = 0
        while True:
            await asyncio.sleep(TICK)
            await self._send(self._session.ack(stored))
            await self._send(self._session.status(self._track.sent))
            stored = self._track.stored

    async def _send(self, reply: Reply | None) -> None:
        if reply is not None:
            with suppress(RuntimeError, WebSocketDisconnect):  # gone: `_receive` will notice
                await self._websocket.send_json(reply)


async def _last_words(websocket: WebSocket, reply: Reply, close: int) -> None:
    with suppress(RuntimeError, WebSocketDisconnect):
        await websocket.send_json(reply)
        await websocket.close(close, reply["code"])
