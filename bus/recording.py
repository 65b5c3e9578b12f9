"""Reads the stored audio of a job: how far it reaches, and any stretch of it.

The beginning of a stretch is found by bisection: the stream can be asked for the first message of a job behind any
sequence, and that message names its sample. This takes some thirty short requests, however long the job is. Frames that
were sent again, perhaps much later by an edge that had been suspended, can mislead it. The stretch then shows a gap and
is read again from the job's beginning, where a gap is certain.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from bus.streams import Bus
from contract import WIDTH
from contract.audio import MAX_BYTES, MAX_SAMPLES, AudioFrame, Gap, Reassembler, audio_subject, read_audio

_MARGIN = MAX_BYTES // WIDTH + 2 * MAX_SAMPLES
"""Samples by which reading begins early: more than can have been under way at once."""

_NEAR = 64
"""With so few sequences left, reading is faster than bisecting."""

_PIECE = 16_000
"""Samples in one piece of silence."""


class SoundGone(Exception):
    """The stream ends before the stretch: the audio has aged out, or was erased while it was read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A job's stored samples, from `first` up to but not including `end`; `ended`: no more will come."""

    first: int
    end: int
    ended: bool


async def extent(bus: Bus, job: str) -> Extent | None:
    """How far a job's audio reaches; None if nothing is stored."""
    first, last = await _first_frame(bus, job), await bus.last_raw(audio_subject(job))
    if first is None or last is None:
        return None
    newest = read_audio(last.data)
    if newest is not None and newest.last:
        return Extent(min(first.start, newest.start), newest.start, ended=True)
    reassembler, after = Reassembler(0), await _before(bus, job, newest.start - _MARGIN) if newest else 0
    begun = False
    while True:
        try:
            async with aclosing(_frames(bus, job, after)) as frames:
                async for seq, frame in frames:
                    if not begun:
                        reassembler, begun = Reassembler(frame.start), True
                    reassembler.take(seq, frame)
                    reassembler.forget(reassembler.expected)
            return Extent(min(first.start, reassembler.expected), reassembler.expected, ended=False)
        except Gap as gap:
            reassembler.skip(gap)
            after = gap.seq - 1


async def read_sound(bus: Bus, job: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
    """Yield the samples from `start` up to but not including `end`, mono s16le at 16 kHz, in pieces.

    A gap in the stream becomes silence. Raises SoundGone if the stream ends before `end`.
    """
    after = await _before(bus, job, start - _MARGIN)
    at, reassembler, bisected = start, Reassembler(start), after > 0
    while at < end:
        try:
            async with aclosing(_frames(bus, job, after)) as frames:
                async for seq, frame in frames:
                    pcm = reassembler.take(seq, frame)
                    reassembler.forget(reassembler.expected)
                    begin = reassembler.expected - len(pcm) // WIDTH
                    wanted = pcm[max(0, at - begin) * WIDTH : max(0, end - begin) * WIDTH]
                    if wanted:
                        at += len(wanted) // WIDTH
                        yield wanted
                    if at == end:
                        return
            if not bisected:
                raise SoundGone(f"the sound of {job} ends at sample {at}, not at {end}")
        except Gap as gap:
            if not bisected:
                for silence in _silence(min(gap.sample, end) - at):
                    yield silence
                at = max(at, min(gap.sample, end))
                reassembler.skip(gap)
                after = gap.seq - 1
                continue
        after, reassembler, bisected = 0, Reassembler(at), False


async def _frames(bus: Bus, job: str, after: int) -> AsyncGenerator[tuple[int, AudioFrame], None]:
    """The frames stored so far, with their sequences; requests to cut and garbage are left out."""
    async with aclosing(bus.read("AUDIO", audio_subject(job), after=after, live=False)) as stored:
        async for raw in stored:
            frame = read_audio(raw.data)
            if frame is not None and not frame.cut:
                yield raw.seq, frame


async def _before(bus: Bus, job: str, sample: int) -> int:
    """A sequence behind which the frames from `sample` on are stored, and perhaps some earlier ones."""
    last = await bus.last_raw(audio_subject(job)) if sample > 0 else None
    low, high = 1, last.seq if last else 1
    while high - low > _NEAR:
        middle = (low + high) // 2
        raw = await bus.first_raw("AUDIO", audio_subject(job), middle)
        frame = read_audio(raw.data) if raw else None
        if raw is not None and frame is not None and frame.start <= sample:
            low = raw.seq
        else:
            high = middle
    return low - 1


async def _first_frame(bus: Bus, job: str) -> AudioFrame | None:
    raw = await bus.first_raw("AUDIO", audio_subject(job))
    while raw is not None:
        if frame := read_audio(raw.data):
            return frame
        raw = await bus.first_raw("AUDIO", audio_subject(job), raw.seq + 1)
    return None


def _silence(samples: int) -> Iterator[bytes]:
    while samples > 0:
        yield bytes(min(samples, _PIECE) * WIDTH)
        samples -= _PIECE
