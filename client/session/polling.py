"""A job's stored sound through the processors once more: asked for, followed, or sent as a new job."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from client.api import TIMEOUT, Options, explain, get_job, in_turn, sound_url
from client.commands.diff import read_record
from client.errors import ServerError, UnavailableError, UnreachableError, refusal
from client.session.connection import Message
from client.session.retry import GIVE_UP_AFTER, Outage

_LOOK_EVERY = 0.5
_LOOK_SELDOM = 4.0
"""Seconds between two looks at a generation: while it grows, and at most while it does not."""

_WAV_HEADER = 44
_PIECE = 65_536


async def follow(
    servers: Sequence[str], job_id: str, generation: int, *, give_up_after: float = GIVE_UP_AFTER
) -> AsyncGenerator[Message, None]:
    """Yield the segments of a generation as they come, each once, then `replayed`.

    Raises ServerError where a server refuses, UnreachableError after so many seconds in which none answers.
    """
    outage, told, pause = Outage(give_up_after), set[int](), _LOOK_EVERY
    clock = asyncio.get_running_loop().time
    while True:
        try:
            _, record = await in_turn(servers, lambda server: get_job(server, job_id, generation))
        except (UnreachableError, UnavailableError) as exc:
            retry_after = exc.retry_after if isinstance(exc, ServerError) else None
            wait = outage.pause(clock(), random.random(), retry_after)  # noqa: S311 - it is no secret
            if wait is None:
                raise
            await asyncio.sleep(wait)
            continue
        outage.connected(clock())
        outage.progress()
        known = read_record(record).generations or ()
        made = next((made for made in known if made.generation == generation), None)
        if made is None:
            raise ServerError(f"job {job_id} has no generation {generation} any more")
        news = [segment for segment in record["segments"] if segment["index"] not in told]
        for segment in news:
            told.add(segment["index"])
            yield {"type": "transcript_segment", **segment}
        if made.done:
            yield {
                "type": "replayed",
                "job_id": job_id,
                "generation": generation,
                "segments": made.segments,
                "model": made.model,
            }
            return
        pause = _LOOK_EVERY if news else min(2 * pause, _LOOK_SELDOM)
        await asyncio.sleep(pause)


@dataclass(frozen=True)
class AsBefore(Options):
    """What a stored job was created with, for another one of its sound."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Give the JSON body of `POST /api/v1/stream/create`."""
        return dict(self.options)


def as_before(record: Mapping[str, Any], changes: Mapping[str, Any]) -> AsBefore:
    """The options of a stored job for a new one: its sound is 16 kHz by now, and nobody waits for it."""
    kept = dict(record.get("options") or {})
    for name in ("webhook_url", "sample_rate", "encoding"):  # whoever was to be told of the job was
        kept.pop(name, None)
    vad = {**(kept.get("vad") or {}), **changes.get("vad", {})}
    return AsBefore(options={**kept, **changes, "vad": vad, "source": "replay"})


def stored_sound(server: str, job_id: str) -> Iterator[bytes]:
    """Yield a job's stored sound, mono s16le at 16 kHz; blocks. Raises UnreachableError, ServerError."""
    url = sound_url(server, job_id)
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT) as response:
            if not response.is_success:
                raise refusal(response.status_code, response.read(), response.headers)
            header = b""
            for piece in response.iter_bytes(_PIECE):
                if len(header) < _WAV_HEADER:
                    header += piece
                    if len(header) < _WAV_HEADER:
                        continue
                    if header[:4] != b"RIFF" or header[36:40] != b"data":
                        raise ServerError(f"{url} is not a WAV file of the kind that a Stenobus server makes")
                    if len(header) > _WAV_HEADER:
                        yield header[_WAV_HEADER:]
                else:
                    yield piece
    except httpx.TransportError as exc:
        raise UnreachableError(f"cannot read {url}: {explain(exc)}") from exc
