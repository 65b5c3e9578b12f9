"""Many live clients in one process, cheaply: `python -m bench.stt.clients URL STREAMS SECONDS SEED`.

Each sends its own talk in 30 ms frames over its own WebSocket, in real time, whether or not the server keeps up. All
are driven by one clock, and nothing waits for a socket. Prints what came of it as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import monotonic, process_time
from typing import cast

import httpx
import uvloop
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.uri import parse_uri

from bench.speech import load_sentences, tape
from bench.timeline import Endpointing
from contract import RATE, WIDTH
from tools.system import ROOT

FRAME_MS = 30
_FRAME_SAMPLES = FRAME_MS * RATE // 1_000
_TURNS = 3
"""Ticks of the clock in the time of a frame: the clients take turns, as their clocks would not be the same either."""

WELCOME_WITHIN = 30.0
END_WITHIN = 60.0
"""Seconds from the last of the sound to the end of the jobs."""


class ClientFailed(Exception):
    """The server did not serve a client as it should; the message says what it did."""


@dataclass(frozen=True)
class Outcome:
    """What came of all clients."""

    latencies: Sequence[float]
    """Seconds from the end of speech to the final, for each final."""
    said: int
    """Sentences in the sound."""
    cpu: float
    """Cores that this process used while it sent."""
    late: float
    """Seconds by which a frame was late at most."""


class Client(asyncio.Protocol):
    """One connection. welcomed, ended: set once the server has said so, or failed."""

    def __init__(self, url: str, pcm: bytes, endpointing: Endpointing) -> None:
        loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.latencies: dict[int, float] = {}
        self._endpointing = endpointing
        self._pcm = memoryview(pcm)
        self._protocol = ClientProtocol(parse_uri(url))
        self._transport: asyncio.Transport | None = None
        self._handed: list[float] = []
        self._text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def send_frame(self, number: int) -> None:
        """Hand a frame of the sound to the socket; what it does not take at once waits in memory."""
        size = _FRAME_SAMPLES * WIDTH
        self._handed.append(monotonic())
        self._send(self._pcm[number * size : (number + 1) * size].tobytes())

    def stop(self) -> None:
        """There is no more sound."""
        if not self.ended.done():
            self._protocol.send_text(json.dumps({"command": "stop"}).encode())
            self._flush()

    def close(self) -> None:
        """Leave without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self, frame: bytes) -> None:
        if not self.ended.done():
            self._protocol.send_binary(frame)
            self._flush()

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if self._protocol.handshake_exc is not None:
                self._fail(f"no WebSocket: {self._protocol.handshake_exc}")
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._text += event.data
                if event.fin:
                    self._take(json.loads(self._text), now)
                    self._text = b""
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        said = self._protocol.close_rcvd
        if said is not None and said.code == CloseCode.NORMAL_CLOSURE:
            self._settle(self.ended)
        self._fail(f"the connection ended: {said or exc or 'without a word'}")

    def _take(self, message: dict[str, object], now: float) -> None:
        if message["type"] == "error" or message.get("error"):
            self._fail(f"the server answered {message}")
        elif message["type"] == "connection_success":
            self._settle(self.welcomed)
        elif message["type"] == "transcript_segment":
            end = round(float(str(message["end"])) * RATE) - self._endpointing.padding_ms * RATE // 1_000
            spoken = self._handed[min(len(self._handed), -(-end // _FRAME_SAMPLES)) - 1]
            self.latencies.setdefault(int(str(message["index"])), now - spoken)

    def _flush(self) -> None:
        assert self._transport is not None  # noqa: S101 - nothing is said before there is a connection
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.write_eof()

    def _settle(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    def _fail(self, reason: str) -> None:
        for future in (self.welcomed, self.ended):
            if not future.done():
                future.set_exception(ClientFailed(reason))


async def run(url: str, streams: int, seconds: float, seed: int) -> Outcome:
    """Let so many clients talk for about so long. Raises ClientFailed."""
    endpointing = Endpointing()
    sentences = load_sentences(ROOT / "samples")
    tapes = [tape(sentences, seconds, seed * 10_000 + stream) for stream in range(streams)]
    clients = await _connect(url, [pcm for pcm, _ in tapes], endpointing)
    try:
        await _all([client.welcomed for client in clients], WELCOME_WITHIN, "were let in")
        began, cpu = monotonic(), process_time()
        late = await _talk(clients, len(tapes[0][0]) // (_FRAME_SAMPLES * WIDTH))
        used = (process_time() - cpu) / (monotonic() - began)
        await _all([client.ended for client in clients], END_WITHIN, "were told of the end of their job")
    finally:
        for client in clients:
            client.close()
    latencies = [latency for client in clients for latency in client.latencies.values()]
    return Outcome(latencies, sum(said for _, said in tapes), used, late)


async def _all(futures: Sequence[asyncio.Future[None]], within: float, what: str) -> None:
    try:
        async with asyncio.timeout(within):
            await asyncio.gather(*(asyncio.shield(future) for future in futures))
    except TimeoutError as exc:
        done = sum(future.done() for future in futures)
        raise ClientFailed(f"{done} of {len(futures)} clients {what} within {within:g} s") from exc


async def _connect(url: str, sounds: Sequence[bytes], endpointing: Endpointing) -> list[Client]:
    options = {"title": "stt", "summary": False, "vad": asdict(endpointing)}
    clients = []
    async with httpx.AsyncClient(trust_env=False) as http:  # the server is on this machine: no proxy
        for pcm in sounds:
            answer = await http.post(f"{url}/api/v1/stream/create", json=options)
            if not answer.is_success:
                raise ClientFailed(f"no job was created: {answer.status_code} {answer.text}")
            clients.append(await open_client(answer.json()["ws_url"], pcm, endpointing))
    return clients


async def open_client(url: str, pcm: bytes, endpointing: Endpointing) -> Client:
    """Connect to the WebSocket of a job; raises OSError."""
    at = parse_uri(url)
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(url, pcm, endpointing), at.host, at.port)
    return client


async def _talk(clients: Sequence[Client], frames: int) -> float:
    """Send all frames when they are due, then stop; returns by how many seconds one was late at most."""
    start, late = monotonic(), 0.0
    for tick in range(_TURNS * frames):
        due = start + FRAME_MS / 1_000 * (1 + tick / _TURNS)
        await asyncio.sleep(due - monotonic())
        for client in clients[tick % _TURNS :: _TURNS]:
            client.send_frame(tick // _TURNS)
        late = max(late, monotonic() - due)
    for client in clients:
        client.stop()
    return late


def main() -> int:
    """Run as a process; gives the exit status."""
    url, streams, seconds, seed = sys.argv[1:]
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(run(url, int(streams), float(seconds), int(seed)))
    except (ClientFailed, httpx.HTTPError, OSError, WebSocketException) as exc:
        print(exc or type(exc).__name__, file=sys.stderr)
        return 1
    print(json.dumps(asdict(outcome)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
