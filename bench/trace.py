"""The way of each segment across the bus, after the fact: the server's own time stamps of what is stored there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from time import monotonic, time

from bench.meeting import Meeting, MeetingFailed
from bench.timeline import Endpointing, Timeline
from bus import Bus
from contract import Segmented, Transcript, Utterance
from contract.audio import audio_subject, decode_audio


async def utterances(bus: Bus, job: str) -> dict[int, Utterance]:
    """What the segmenter made of a job: its utterances by their sequence in the stream SPEECH."""
    stored = [(raw.seq, Utterance.decode(raw.data)) for raw in await bus.history("SPEECH", Utterance.pattern(job))]
    return {seq: utterance for seq, utterance in stored if not utterance.last}


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
    written = {}
    for raw in await bus.history("EVENTS", Transcript.pattern(meeting.job)):
        transcript = Transcript.decode(raw.data)
        written[transcript.index] = raw.seq, transcript.elapsed
    found = []
    for seq, utterance in spoken.items():
        if utterance.index not in meeting.told:
            raise MeetingFailed(f"the client was never told segment {utterance.index} of job {meeting.job}")
        decision = endpointing.decision(utterance)
        transcript_seq, inference = written[utterance.index]
        found.append(
            Timeline(
                spoken=meeting.handed_with(endpointing.speech_end(utterance)),
                decided=meeting.handed_with(decision),
                heard=await _stored_at(bus, "AUDIO", next(seq for end, seq in audio if end >= decision)),
                cut=await _stored_at(bus, "SPEECH", seq),
                written=await _stored_at(bus, "EVENTS", transcript_seq),
                told=meeting.told[utterance.index],
                inference=inference,
            )
        )
    return found


async def _stored_at(bus: Bus, stream: str, seq: int) -> float:
    """When a message was stored, as `time.monotonic` would have said."""
    message = await bus.stored(stream, seq)
    assert message is not None  # noqa: S101 - it was read a moment ago
    return message.time.timestamp() - wall_ahead()


def wall_ahead() -> float:
    """Seconds by which the wall clock is ahead of `time.monotonic`; where we lose the CPU in between it seems less."""
    return max(time() - monotonic() for _ in range(10))
