"""What a capture leaves on the bus, and what the processors would make of it."""

from __future__ import annotations

from typing import Any

from bus import Bus
from contract import Closed, Completed, Message, Segmented, Summary, Transcript
from contract.audio import decode_audio
from tests.support import wait_until

FRAME = b"\x01\x02" * 480


def final(job: str, index: int, text: str, **fields: Any) -> Transcript:
    return Transcript(job=job, index=index, start=16_000 * index, end=16_000 * index + 8_000, text=text, **fields)


async def play_processors(bus: Bus, job: str, texts: list[str], samples: int) -> None:
    """What the processors publish about a job."""
    messages: list[Message] = [final(job, index, text, language="en") for index, text in enumerate(texts)]
    messages.append(Segmented(job=job, segments=len(texts), samples=samples))
    messages.append(Summary(job=job, title="Budget", summary="It is late.", key_points=["late"], engine="extractive"))
    messages.append(Completed(job=job, segments=len(texts), samples=samples))
    for message in messages:
        assert await bus.create(message)


async def stored(bus: Bus, job: str) -> bytes:
    return b"".join(decode_audio(raw.data).pcm for raw in await bus.history("AUDIO", f"audio.{job}"))


async def assembled(bus: Bus, job: str) -> tuple[bytes, bool]:
    """The sound as a reader has it that takes only what it expects next, and whether it met the end."""
    sound, last = b"", False
    for raw in await bus.history("AUDIO", f"audio.{job}"):
        frame = decode_audio(raw.data)
        if frame.start * 2 == len(sound):
            sound, last = sound + frame.pcm, frame.last
    return sound, last


async def closed(bus: Bus, job: str) -> Closed:
    await wait_until(lambda: bus.last_raw(Closed.pattern(job)), description="the job is closed")
    last = await bus.last(Closed, Closed.pattern(job))
    assert last is not None
    return last.value
