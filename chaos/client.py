"""A persistent client: it streams in real time, keeps what is not acknowledged, and reconnects after every break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from time import time
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from bus.backoff import delay_after
from chaos.evidence import Ack, Told, clock
from contract import RATE, WIDTH

FRAME_MS = (10, 20, 30, 60, 100)
FINAL = {1008: "protocol error", 1009: "frame too large", 4004: "no such job"}
"""Close codes after which coming back is of no use."""

JOB_CLOSED, TAKEN_OVER = 4009, 4010

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
_ANSWER_TIMEOUT = 20.0
"""Seconds that a pong or an answer over HTTP may take: longer than any stop."""

_HANDSHAKES = (3.0, _ANSWER_TIMEOUT)
"""Seconds that a handshake may take: some clients have gone elsewhere by the time that a stopped edge goes on."""


class Client:
    """The client of one meeting. `sent` is the sound; `paced`: in real time, else as fast as the server accepts it."""

    def __init__(self, name: str, sent: bytes, edges: Sequence[str], random: Random, *, paced: bool = True) -> None:
        self.name = name
        self.sent = sent
        self.told = Told()
        self.job = ""
        self.sound_over = asyncio.Event()
        """All sound has been sent once."""
        self.evictions = 0
        """How often an older connection, already given up, took over from the newest one."""
        self._samples = len(sent) // WIDTH
        self._edges = edges
        self._random = random
        self._paced = paced
        self._frame = random.choice(FRAME_MS) * RATE // 1_000
        self._began = 0.0
        self._acked = 0
        self._reached = 0  # samples sent on any connection so far
        self._socket: ClientConnection | None = None
        self._leave = asyncio.Event()
        self._left: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether it has a connection now."""
        return self._socket is not None

    def abort(self) -> bool:
        """Break the connection as a network does; False if there is none."""
        if self._socket is None:
            return False
        self._socket.transport.abort()
        return True

    def take_over(self) -> bool:
        """Open another connection while this one stays; False if there is none."""
        if self._socket is None:
            return False
        self._leave.set()
        return True

    async def run(self) -> None:
        """Hold the meeting until its end is known, however often the connection breaks."""
        try:
            self.job = await self._persist(self._create)
            self._began = asyncio.get_running_loop().time()
            failures = 0
            while not self.told.finished and not self.told.problems:
                acked = self._acked
                code = await self._connect()
                if code is not None:
                    self.told.closes[code] += 1
                if code == TAKEN_OVER:
                    self.evictions += 1
                if code == JOB_CLOSED:
                    await self._persist(self._look)
                elif code in FINAL:
                    self.told.problems.append(f"was turned away with {code}, {FINAL[code]}: {self._last_error}")
                failures = 1 if self._acked > acked else failures + 1
                await asyncio.sleep(delay_after(failures, _FIRST_PAUSE, _LONGEST_PAUSE, self._random.random()))
        finally:
            self.sound_over.set()
            for task in self._left:
                task.cancel()
            await asyncio.gather(*self._left, return_exceptions=True)

    async def _connect(self) -> int | None:
        """One connection, to any edge, from handshake to end; returns its close code, None if it was left open."""
        edge = self._random.choice(self._edges).replace("http", "ws", 1)
        self._last_error: Any = None
        try:
            socket = await connect(
                f"{edge}/api/v1/stream/{self.job}?sample={self._acked}",
                compression=None,
                proxy=None,
                open_timeout=self._random.choice(_HANDSHAKES),
                ping_timeout=_ANSWER_TIMEOUT,
                close_timeout=1,
                max_size=None,
            )
        except (OSError, TimeoutError, WebSocketException):
            return 1006
        self._socket = socket
        self._leave.clear()
        listening = asyncio.create_task(self._listen(socket))
        leaving = asyncio.create_task(self._leave.wait())
        try:
            await asyncio.wait([listening, leaving], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            socket.transport.abort()
            raise
        finally:
            self._socket = None
            leaving.cancel()
            if not listening.done():
                listening.cancel()
                await asyncio.wait([listening])
        if listening.cancelled():
            self._left.add(asyncio.create_task(self._linger(socket)))
            return None
        await socket.close()
        listening.result()
        return socket.close_code or 1006

    async def _linger(self, socket: ClientConnection) -> None:
        """Read from a connection that another one has replaced, until the server closes it."""
        try:
            async for _ in socket:
                pass
        except ConnectionClosed:
            pass
        finally:
            if socket.close_code is not None:
                self.told.closes[socket.close_code] += 1
            await socket.close()

    async def _listen(self, socket: ClientConnection) -> None:
        speaking: asyncio.Task[None] | None = None
        seen: set[int] = set()
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "connection_success":
                    start = self._welcomed(message["next_sample"])
                    speaking = asyncio.create_task(self._speak(socket, start))
                else:
                    self._take(message, seen)
        except ConnectionClosed:
            pass
        finally:
            if speaking is not None:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)

    def _welcomed(self, next_sample: int) -> int:
        """Where to continue; the server may neither ask for what it acknowledged nor skip what was never sent."""
        if next_sample < self._acked:
            self.told.problems.append(f"was asked for {clock(next_sample)} after an ack of {clock(self._acked)}")
        if next_sample > self._reached:
            self.told.problems.append(f"was told to go on at {clock(next_sample)}, had sent {clock(self._reached)}")
        return next_sample

    def _take(self, message: dict[str, Any], seen: set[int]) -> None:
        """Record a message of the server. `seen`: the segments sent on this connection; each comes once."""
        match message["type"]:
            case "ack":
                samples = message["samples"]
                if samples > self._reached:
                    self.told.problems.append(f"got an ack of {clock(samples)}, had sent {clock(self._reached)}")
                self.told.acks.append(Ack(time(), samples))
                self._acked = max(self._acked, samples)
            case "transcript_segment":
                self._take_segment(message["index"], message["text"], seen)
            case "final_summary":
                self.told.finished = "socket"
                if untold := sorted(set(self.told.segments) - seen):
                    self.told.problems.append(f"was not told {untold} again on its last connection")
            case "error":
                self._last_error = message

    def _take_segment(self, index: int, text: str, seen: set[int]) -> None:
        if index in seen:
            self.told.problems.append(f"was told segment {index} twice on one connection")
        seen.add(index)
        if self.told.segments.setdefault(index, text) != text:
            self.told.problems.append(f"was told two texts for segment {index}")

    async def _speak(self, socket: ClientConnection, start: int) -> None:
        """Send sound from sample `start` on, then stop."""
        at = start
        try:
            while at < self._samples:
                end = min(at + self._frame, self._samples)
                await asyncio.sleep(self._due(end))
                await socket.send(self.sent[at * WIDTH : end * WIDTH])
                self._reached = max(self._reached, end)
                at = end
            self.sound_over.set()
            await socket.send(json.dumps({"command": "stop"}))
        except ConnectionClosed:
            pass

    def _due(self, samples: int) -> float:
        """Seconds until a microphone has these samples; even a wait of nothing lets messages be read."""
        return max(0.0, self._began + samples / RATE - asyncio.get_running_loop().time()) if self._paced else 0.0

    async def _create(self, http: httpx.AsyncClient) -> str | None:
        answer = await http.post(f"{self._random.choice(self._edges)}/api/v1/stream/create", json={"title": self.name})
        return str(answer.json()["job_id"]) if answer.is_success else None

    async def _look(self, http: httpx.AsyncClient) -> str | None:
        """Fetch the result of a job that was closed; None while there is none."""
        answer = await http.get(f"{self._random.choice(self._edges)}/api/v1/jobs/{self.job}?generation=1")
        if not answer.is_success or answer.json()["state"] != "completed":
            return None
        for segment in answer.json()["segments"]:
            self._take_segment(segment["index"], segment["text"], set())
        self.told.finished = "rest"
        return "completed"

    async def _persist(self, ask: Callable[[httpx.AsyncClient], Awaitable[str | None]]) -> str:
        """Repeat until there is an answer."""
        async with httpx.AsyncClient(trust_env=False, timeout=_ANSWER_TIMEOUT) as http:
            while True:
                try:
                    if answer := await ask(http):
                        return answer
                except httpx.TransportError:
                    pass
                await asyncio.sleep(self._random.uniform(0.2, 1.0))
