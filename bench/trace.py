"""One meeting in real time over a real WebSocket, and when each of its segments passed each part of the system."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from time import monotonic, time
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.timeline import Endpointing, Timeline
from bus import Bus
from client.session.outgoing import delay, frame_bytes, take_frames, take_rest
from contract import RATE, WIDTH, Segmented, Transcript, Utterance
from contract.audio import audio_subject, decode_audio

FRAME_MS = 30
END_WITHIN = 60.0
"""Seconds from the last of the sound to the end of the job."""


class MeetingFailed(Exception):
    """The server failed the meeting; the message says how."""


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
    """Where each of them ends, in samples, to the millisecond."""
    partials: Sequence[tuple[float, int]] = ()
    """When each interim text was there, and where its segment starts, in samples."""

    def handed_with(self, samples: int) -> float:
        """When the frame was handed over that made the sound this long; at least 1."""
        return self.handed[(samples - 1) * 1_000 // (FRAME_MS * RATE)]


async def hold(
    url: str, pcm: bytes, endpointing: Endpointing | None, *, partials: bool = True, end_within: float = END_WITHIN
) -> Meeting:
    """Send 16 kHz mono s16le as a new job, as a microphone would. Raises MeetingFailed.

    endpointing: None: as the server does by default. end_within: seconds from the last of the sound to the job's end.
    """
    options = {"title": "latency", "summary": False, "partials": partials}
    if endpointing is not None:
        options["vad"] = asdict(endpointing)
    patience = len(pcm) / WIDTH / RATE + end_within
    try:
        async with httpx.AsyncClient(trust_env=False) as http:  # the server is on this machine: no proxy
            answer = await http.post(f"{url}/api/v1/stream/create", json=options)
        if not answer.is_success:
            raise MeetingFailed(f"no job was created: {answer.status_code} {answer.text}")
        job = answer.json()
        async with asyncio.timeout(patience), connect(job["ws_url"], compression=None, proxy=None) as socket:
            _take(await socket.recv())
            handed, (finals, interim) = await asyncio.gather(_send(socket, pcm), _texts(socket))
    except TimeoutError as exc:
        raise MeetingFailed(f"the meeting had not ended {end_within:g} s after its sound") from exc
    except (httpx.HTTPError, WebSocketException, OSError) as exc:
        raise MeetingFailed(f"the connection to {url} failed: {exc or type(exc).__name__}") from exc
    told = {index: at for index, (at, _) in finals.items()}
    ends = {index: end for index, (_, end) in finals.items()}
    return Meeting(job["job_id"], len(pcm) // WIDTH, handed, told, ends, interim)


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


async def _texts(socket: ClientConnection) -> tuple[dict[int, tuple[float, int]], list[tuple[float, int]]]:
    """When each final came, and where its segment ends, by index; when each interim text came, and where it starts."""
    finals, interim = {}, []
    async for text in socket:
        now = monotonic()
        message = _take(text)
        if message["type"] == "transcript_segment":
            finals[int(message["index"])] = now, round(message["end"] * RATE)
        elif message["type"] == "partial":
            interim.append((now, round(message["start"] * RATE)))
    return finals, interim


def _take(text: str | bytes) -> dict[str, Any]:
    """A message; raises MeetingFailed for an error."""
    message: dict[str, Any] = json.loads(text)
    if message["type"] == "error" or message.get("error"):
        raise MeetingFailed(f"the server answered {message}")
    return message


async def utterances(bus: Bus, job: str) -> dict[int, Utterance]:
    """What the segmenter made of a job: its utterances by their sequence in the stream SPEECH."""
    stored = [(raw.seq, Utterance.decode(raw.data)) for raw in await bus.history("SPEECH", Utterance.pattern(job))]
    return {seq: utterance for seq, utterance in stored if not utterance.last}


async def transcripts(bus: Bus, job: str) -> dict[int, tuple[int, Transcript]]:
    """The live transcripts of a job with their sequence in the stream EVENTS, by index."""
    found = {}
    for raw in await bus.history("EVENTS", Transcript.pattern(job, generation="1")):
        transcript = Transcript.decode(raw.data)
        found[transcript.index] = raw.seq, transcript
    return found


async def segmented(bus: Bus, jobs: Collection[str], within: float) -> dict[str, int]:
    """Samples that the segmenter has read of each job, once it is through with all of them.

    Those that it is not through with after so many seconds are missing.
    """
    found: dict[str, int] = {}
    missing = set(jobs)
    with suppress(TimeoutError):
        async with asyncio.timeout(within), aclosing(bus.read("EVENTS", Segmented.pattern())) as stored:
            while missing:
                event = Segmented.decode((await anext(stored)).data)
                if event.job in missing:
                    found[event.job] = event.samples
                    missing.remove(event.job)
    return found


async def timelines(
    bus: Bus, meeting: Meeting, spoken: dict[int, Utterance], endpointing: Endpointing
) -> list[Timeline]:
    """The timeline of each utterance of `spoken` (as `utterances` gives it), all of which hangover must have ended.

    The bus must be on this machine: for the stages its clock is compared with ours. Raises MeetingFailed where a final
    is missing.
    """
    audio = [(decode_audio(raw.data).end, raw.seq) for raw in await bus.history("AUDIO", audio_subject(meeting.job))]
    written = await transcripts(bus, meeting.job)
    found = []
    for seq, utterance in spoken.items():
        if utterance.index not in meeting.told:
            raise MeetingFailed(f"the client was never told segment {utterance.index} of job {meeting.job}")
        decision = endpointing.decision(utterance)
        transcript_seq, transcript = written[utterance.index]
        cut, made = await stored_at(bus, "SPEECH", seq), await stored_at(bus, "EVENTS", transcript_seq)
        found.append(
            Timeline(
                spoken=meeting.handed_with(endpointing.speech_end(utterance)),
                decided=meeting.handed_with(decision),
                heard=await stored_at(bus, "AUDIO", next(seq for end, seq in audio if end >= decision)),
                cut=cut,
                written=made,
                told=meeting.told[utterance.index],
                inference=min(transcript.elapsed, made - cut),
            )
        )
    return found


async def stored_at(bus: Bus, stream: str, seq: int) -> float:
    """When a message was stored, on the clock of `time.monotonic`."""
    message = await bus.stored(stream, seq)
    assert message is not None  # noqa: S101 - it was read a moment ago
    return message.time.timestamp() - wall_ahead()


def wall_ahead() -> float:
    """Seconds by which the wall clock is ahead of `time.monotonic`; where we lose the CPU in between it seems less."""
    return max(time() - monotonic() for _ in range(10))
