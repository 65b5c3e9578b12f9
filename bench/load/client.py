"""One live client: its WebSocket, as cheap as it gets, and its meetings one after the other."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import Any

import httpx
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.load.plan import Plan
from bench.load.report import Lateness, Meeting, Told
from bench.load.sound import Sound
from contract import RATE

_STOP = json.dumps({"command": "stop"}).encode()
OPEN_WITHIN = 30.0
"""Seconds that a server may take for the handshake."""


class ClientFailed(Exception):
    """The server failed a client; the message says how."""


class Client(WSListener):
    """`welcomed`, `ended`: done when the server says so, or failed with ClientFailed."""

    def __init__(self, sound: Sound, place: int, frame_ms: int, *, times: bool) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.samples = 0
        self.acked = 0
        self.began = 0.0
        self._sound = sound
        self._next = place
        self._frame_samples = frame_ms * RATE // 1_000
        self._times = times
        self._handed = array("d")
        self._told: list[Told] = []
        self._transport: WSTransport | None = None
        self._close: int | None = None
        self._text = b""
        self._stopped = self._leaves = self._told_all = False

    def send_frame(self) -> None:
        """Hand the next frame to the socket; what that does not take at once waits in memory."""
        if self._transport is None or self._stopped:
            return
        if self._times or not self.samples:
            now = monotonic()
            self.began = self.began or now
            if self._times:
                self._handed.append(now - self.began)
        self.samples += self._frame_samples
        self._transport.send(WSMsgType.BINARY, self._sound.frame(self._next))
        self._next += 1

    def stop(self, *, leave: bool) -> None:
        """There is no more sound. leave: go once all is acked, else stay until the summary."""
        self._stopped, self._leaves = True, leave
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, _STOP)
            self._leave_if_done()

    def abort(self) -> None:
        """Leave without a word."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def meeting(self, stream: int, job: str, asked: float, error: str | None) -> Meeting:
        """What became of it."""
        frame_ms = self._frame_samples * 1_000 // RATE
        handed = [round(seconds, 4) for seconds in self._handed]
        times = asked, self.began, monotonic()
        return Meeting(stream, job, *times, self.samples, self.acked, frame_ms, self._close, error, self._told, handed)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            self._close = int.from_bytes(payload[:2], "big") if len(payload) > 1 else None
            if not transport.is_close_frame_sent:
                transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._text += frame.get_payload_as_bytes()
            if frame.fin:
                text, self._text = self._text, b""
                self._take(json.loads(text), monotonic())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport = None
        if self._told_all or (self._leaves and self.acked >= self.samples):
            self._settle(self.ended)
        said = "without a word" if self._close is None else f"by the server with {self._close}"
        self._fail(f"the connection was closed {said}")

    def _take(self, message: dict[str, Any], now: float) -> None:
        kind = message["type"]
        if kind == "ack":
            self.acked = message["samples"]
            self._leave_if_done()
        elif kind == "error" or message.get("error"):
            self._fail(f"the server answered {message.get('code') or kind}: {message.get('message') or message}")
        elif kind == "connection_success":
            self._settle(self.welcomed)
        elif kind == "transcript_segment":
            self._told.append(Told(message["index"], round(message["end"] * RATE), now, message["text"]))
        elif kind == "final_summary":
            self._told_all = True

    def _leave_if_done(self) -> None:
        done = self._leaves and self.acked >= self.samples
        if done and self._transport is not None and not self._transport.is_close_frame_sent:
            self._transport.send_close(WSCloseCode.OK)

    def _settle(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    def _fail(self, reason: str) -> None:
        for future in (self.welcomed, self.ended):
            if not future.done():
                future.set_exception(ClientFailed(reason))
                future.exception()  # the report has it, even if nobody awaits it


async def open_client(url: str, client: Client) -> None:
    """Connect a client to the WebSocket of a job. Raises ClientFailed."""
    try:
        await ws_connect(lambda: client, url, websocket_handshake_timeout=OPEN_WITHIN)
    except (WSError, OSError, TimeoutError) as exc:
        raise ClientFailed(f"no WebSocket at {url.partition('/api')[0]}: {exc or type(exc).__name__}") from exc


TICK = 0.001
"""Seconds; no timer of the event loop is finer. Frames that are due in the same tick go out back to back."""

Send = Callable[[], None]


class Pacer:
    """Calls each `send` once in the time of a frame, spread over that time as evenly as ticks allow.

    phase: share of a tick by which the clock is behind those of other processes.
    """

    def __init__(self, frame_ms: int, phase: float = 0.0) -> None:
        self.late = Lateness()
        self.frames = 0
        self._phase = phase
        self._turns: list[tuple[Send, ...]] = [()] * frame_ms

    def add(self, place: int, send: Send) -> None:
        """From now on; `place` says which phase of a frame it has."""
        turn = place % len(self._turns)
        self._turns[turn] = (*self._turns[turn], send)

    def remove(self, place: int, send: Send) -> None:
        """No longer."""
        turn = place % len(self._turns)
        self._turns[turn] = tuple(other for other in self._turns[turn] if other != send)

    async def run(self) -> None:
        """Without end."""
        start, tick = monotonic() + self._phase * TICK, 0
        while True:
            due = start + tick * TICK
            if (wait := due - monotonic()) > 0:
                await asyncio.sleep(wait)
            elif tick % 50 == 0:
                await asyncio.sleep(0)  # far behind: the server's messages must be read all the same
            turn = self._turns[tick % len(self._turns)]
            if turn:
                for send in turn:
                    send()
                self.frames += len(turn)
                self.late.add(monotonic() - due, len(turn))
            tick += 1


WELCOME_WITHIN = 30.0
_PAUSE = 1.0
"""Seconds before a client that failed starts again."""


class Speaker:
    """`meetings`: those that are over. `started`: set once the first has begun to stream, or has failed."""

    def __init__(
        self, plan: Plan, stream: int, place: int, sound: tuple[Sound, int], http: httpx.AsyncClient, pacer: Pacer
    ) -> None:
        self.meetings: list[Meeting] = []
        self.started = asyncio.Event()
        self.client: Client | None = None
        self._plan = plan
        self._stream = stream
        self._place = place
        self._sound, self._frame = sound
        self._http = http
        self._pacer = pacer
        self._random = Random(f"{plan.seed} {stream}")  # noqa: S311 - not for secrets
        self._over = asyncio.Event()

    def finish(self) -> None:
        """Let the meeting come to its end, and no other begin."""
        self._over.set()

    async def run(self) -> None:
        """Hold meetings until `finish`, or one meeting; what goes wrong is recorded with the meeting."""
        anew = bool(self._plan.burst or self._plan.meeting)
        while not self._over.is_set():
            await self._meet()
            self.started.set()
            if not anew:
                return
            if self.meetings[-1].error is not None:
                await self._wait_for_the_end(_PAUSE)

    async def _meet(self) -> None:
        plan, asked, job, error = self._plan, monotonic(), "", None
        self.client = client = Client(self._sound, self._frame, plan.frame_ms, times=plan.times)
        try:
            job, url = await self._create()
            await open_client(url, client)
            await _within(WELCOME_WITHIN, client.welcomed, "was not welcomed")
            await (self._say_at_once(client) if plan.burst else self._say(client))
            client.stop(leave=plan.leave)
            what = f"was not {'acked' if plan.leave else 'served'} to the end"
            await _within(plan.end_within, client.ended, what)
        except ClientFailed as exc:
            error = str(exc)
        finally:
            client.abort()
        self.meetings.append(client.meeting(self._stream, job, asked, error))
        self.client = None

    async def _create(self) -> tuple[str, str]:
        try:
            answer = await self._http.post("/api/v1/stream/create", json=dict(self._plan.options))
        except httpx.HTTPError as exc:
            raise ClientFailed(f"no job was created: {exc or type(exc).__name__}") from exc
        if not answer.is_success:
            raise ClientFailed(f"no job was created: {answer.status_code} {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found["job_id"], found["ws_url"]

    async def _say(self, client: Client) -> None:
        """In real time, to the end of the meeting."""
        self._pacer.add(self._place, client.send_frame)
        self.started.set()
        try:
            seconds = self._random.uniform(*self._plan.meeting) if self._plan.meeting else None
            over = asyncio.create_task(self._wait_for_the_end(seconds))
            await asyncio.wait({over, client.ended}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
        finally:
            self._pacer.remove(self._place, client.send_frame)
        if client.ended.done():
            client.ended.result()
            raise ClientFailed("the server ended the job before its sound had ended")

    async def _say_at_once(self, client: Client) -> None:
        for _ in range(round(self._plan.burst * 1_000 / self._plan.frame_ms)):
            client.send_frame()
        self.started.set()

    async def _wait_for_the_end(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass


async def _within(seconds: float, what: Awaitable[None], complaint: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(what)
    except TimeoutError as exc:
        raise ClientFailed(f"a client {complaint} within {seconds:g} s") from exc
