"""One meeting in real time over a real WebSocket, with the times at which frames left and finals came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.timeline import Endpointing
from client.session.outgoing import delay, frame_bytes, take_frames, take_rest
from contract import RATE, WIDTH

FRAME_MS = 30
END_WITHIN = 60.0
"""Seconds from the last of the sound to the end of the job."""


class MeetingFailed(Exception):
    """The server did not serve the meeting to its end; the message says what it did."""


@dataclass(frozen=True)
class Meeting:
    """Times are seconds of `time.monotonic`."""

    job: str
    samples: int
    handed: Sequence[float]
    """When each frame was handed to the socket."""
    told: dict[int, float]
    """When each segment's final was there, by index."""
    ends: dict[int, int] = field(default_factory=dict)
    """Where each of them ends, in samples; told in milliseconds."""

    def handed_with(self, samples: int) -> float:
        """When the frame was handed over that made the sound this long; at least 1."""
        return self.handed[(samples - 1) * 1_000 // (FRAME_MS * RATE)]


async def hold(url: str, pcm: bytes, endpointing: Endpointing, *, partials: bool = True) -> Meeting:
    """Send 16 kHz mono s16le as a new job, as a microphone would. Raises MeetingFailed."""
    options = {"title": "latency", "summary": False, "vad": asdict(endpointing), "partials": partials}
    patience = len(pcm) / WIDTH / RATE + END_WITHIN
    try:
        async with httpx.AsyncClient(trust_env=False) as http:  # the server is on this machine: no proxy
            answer = await http.post(f"{url}/api/v1/stream/create", json=options)
        if not answer.is_success:
            raise MeetingFailed(f"no job was created: {answer.status_code} {answer.text}")
        job = answer.json()
        async with asyncio.timeout(patience), connect(job["ws_url"], compression=None, proxy=None) as socket:
            _take(await socket.recv())
            handed, finals = await asyncio.gather(_send(socket, pcm), _finals(socket))
    except TimeoutError as exc:
        raise MeetingFailed(f"the meeting had not ended {END_WITHIN:g} s after its sound") from exc
    except (httpx.HTTPError, WebSocketException, OSError) as exc:
        raise MeetingFailed(f"the connection to {url} failed: {exc or type(exc).__name__}") from exc
    told = {index: at for index, (at, _) in finals.items()}
    ends = {index: end for index, (_, end) in finals.items()}
    return Meeting(job["job_id"], len(pcm) // WIDTH, handed, told, ends)


async def _send(socket: ClientConnection, pcm: bytes) -> list[float]:
    sound = bytearray(pcm)
    frames = [*take_frames(sound, frame_bytes(FRAME_MS)), *filter(None, [take_rest(sound)])]
    handed = []
    start = monotonic()
    for index, frame in enumerate(frames):
        await asyncio.sleep(delay(monotonic(), start, index, FRAME_MS))
        handed.append(monotonic())
        await socket.send(frame)
    await socket.send(json.dumps({"command": "stop"}))
    return handed


async def _finals(socket: ClientConnection) -> dict[int, tuple[float, int]]:
    """When each final came, and where its segment ends, by index."""
    found = {}
    async for text in socket:
        now = monotonic()
        message = _take(text)
        if message["type"] == "transcript_segment":
            found[int(message["index"])] = now, round(message["end"] * RATE)
    return found


def _take(text: str | bytes) -> dict[str, Any]:
    """A message; raises MeetingFailed for an error."""
    message: dict[str, Any] = json.loads(text)
    if message["type"] == "error" or message.get("error"):
        raise MeetingFailed(f"the server answered {message}")
    return message
