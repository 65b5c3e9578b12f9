"""Decides which connection may write a job's audio.

A connection that takes a job over first finds the sample up to which audio is stored. There it stores an empty frame,
its claim, on condition that nothing was stored meanwhile. The end mark is stored on condition that no later claim
exists. So if two edges both believe that they have a job, only the one with the last claim can end it, and what the
other still sends are frames that are stored already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bus.speech import last_utterance
from bus.streams import Bus, Conflict, Raw
from contract import Source
from contract.audio import AudioFrame, Gap, Reassembler, audio_subject, encode_audio, read_audio


class AudioEnded(Exception):
    """The end mark of the job's audio is stored: nothing can follow it."""


class Superseded(Exception):
    """Another connection has claimed the job's audio."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a job's audio from sample `start` on; `seq` is its sequence in stream AUDIO."""

    start: int = 0
    seq: int = 0


async def claim_audio(
    bus: Bus,
    job: str,
    source: Source = "live",
    generation: int = 1,
    *,
    accept: Callable[[int], None] = lambda _start: None,
) -> Claim:
    """Claim a job's audio at the first sample that is not stored; raises AudioEnded.

    accept: gets that sample before the claim is stored, and may raise to prevent it.
    """
    done = (await last_utterance(bus, job, source, generation)).utterance
    reassembler = Reassembler(done.end if done else 0)
    last = 0
    after = done.audio_seq - 1 if done else 0
    while True:
        # The last message alone is not enough: one before it may have been refused and never sent again.
        for raw in await bus.history("AUDIO", audio_subject(job), after=after):
            last = after = raw.seq
            _take(reassembler, raw)
        accept(reassembler.expected)
        claim = encode_audio(AudioFrame(reassembler.expected, b"", generation=generation))
        try:
            return Claim(reassembler.expected, await bus.store(audio_subject(job), claim, after=last))
        except Conflict:
            continue


def _take(reassembler: Reassembler, raw: Raw) -> None:
    frame = read_audio(raw.data)
    if frame is None:
        return
    if frame.last:
        raise AudioEnded(f"the audio of {raw.subject} has ended")
    try:
        reassembler.take(raw.seq, frame)
    except Gap as gap:
        reassembler.skip(gap)
        reassembler.take(raw.seq, frame)


async def check_claim(bus: Bus, job: str, claim: Claim) -> None:
    """Return if a claim still holds; raises AudioEnded or Superseded. Reads what was stored behind it."""
    for raw in await bus.history("AUDIO", audio_subject(job), after=claim.seq):
        if is_end(raw):
            raise AudioEnded(f"the audio of {job} has ended")
        if _is_claim(raw):
            raise Superseded(f"the audio of {job} is claimed by another connection")


async def end_audio(bus: Bus, job: str, end: int, after: int, generation: int = 1) -> None:
    """Store the mark that a job's audio ends at sample `end`.

    Raises Superseded if the audio was claimed behind sequence `after`, or has its end mark already.
    """
    mark = encode_audio(AudioFrame(end, b"", True, generation))
    while True:
        try:
            await bus.store(audio_subject(job), mark, after=after)
            return
        except Conflict as conflict:
            last = conflict.found.seq if conflict.found else 0
            later = await bus.history("AUDIO", audio_subject(job), after=after)
        if any(_is_claim(raw) or is_end(raw) for raw in later):
            raise Superseded(f"the audio of {job} is claimed by another connection")
        # Only frames that were sent twice; or the audio is gone, because it has become too old meanwhile.
        after = later[-1].seq if later else last


async def cut_audio(bus: Bus, job: str, at: int, after: int, wanted: Callable[[], bool]) -> None:
    """Store a request to cut a job's speech at sample `at`, unless its audio has ended.

    after: sequence of the last message that was read when the cut was decided.
    wanted: is asked before each attempt whether the cut still makes sense.
    """
    request = encode_audio(AudioFrame(at, b"", cut=True))
    while wanted():
        try:
            await bus.store(audio_subject(job), request, after=after)
            return
        except Conflict as conflict:
            if conflict.found is None or is_end(conflict.found):
                return
            after = conflict.found.seq


def is_end(raw: Raw) -> bool:
    """Whether a message of AUDIO is an end mark."""
    frame = read_audio(raw.data)
    return frame is not None and frame.last


def _is_claim(raw: Raw) -> bool:
    frame = read_audio(raw.data)
    return frame is not None and not (frame.pcm or frame.last or frame.cut)
