"""Whose turn it is to write a job's audio.

A connection that takes a job over first finds out where its audio stands, then stores an empty frame there, on
condition that nothing was stored meanwhile. The mark that audio has ended is stored on condition that no such claim
came after one's own. So of two edges that both believe to have a job, only the one that claimed it last can end it,
and what the other still sends are frames that are there already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bus.reassembly import Gap, Reassembler
from bus.streams import Bus, Conflict, Raw
from contract import ContractError, Source, Utterance
from contract.audio import AudioFrame, audio_subject, encode_audio, read_audio


class AudioEnded(Exception):
    """The job's audio has its end: nothing can follow it."""


class Superseded(Exception):
    """Another connection has claimed the job's audio."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a job's audio from sample `start` on; `seq` is where it stands in stream AUDIO."""

    start: int = 0
    seq: int = 0


async def last_utterance(
    bus: Bus, job: str, source: Source = "live", generation: int = 1
) -> tuple[Utterance | None, int]:
    """A job's last utterance, if there is one, and the sequence that the next one must follow."""
    subject = Utterance.pattern(job, source=source, generation=str(generation))
    raw = await bus.last_raw(subject)
    if raw is None:
        return None, 0
    utterance = decode_utterance(raw)
    if utterance is None:  # somebody else's garbage came after it
        found = (decode_utterance(older) for older in reversed(await bus.history("SPEECH", subject)))
        utterance = next((older for older in found if older), None)
    return utterance, raw.seq


def decode_utterance(raw: Raw) -> Utterance | None:
    """The utterance, or None for garbage."""
    try:
        return Utterance.decode(raw.data)
    except ContractError:
        return None


async def claim_audio(
    bus: Bus,
    job: str,
    source: Source = "live",
    generation: int = 1,
    *,
    accept: Callable[[int], None] = lambda _start: None,
) -> Claim:
    """Take a job's audio over at the first sample that is not stored; raises AudioEnded.

    `accept` is told that sample before anything is claimed, and may raise.
    """
    done, _ = await last_utterance(bus, job, source, generation)
    reassembler = Reassembler(done.end if done else 0)
    last = 0
    after = done.audio_seq - 1 if done else 0
    while True:
        # The last message is not enough: one before it may have been refused and never sent again.
        for raw in await bus.history("AUDIO", audio_subject(job), after=after):
            last = after = raw.seq
            _take(reassembler, raw)
        accept(reassembler.expected)
        marker = encode_audio(AudioFrame(reassembler.expected, b"", generation=generation))
        try:
            return Claim(reassembler.expected, await bus.store(audio_subject(job), marker, after=last))
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
    """Return if a claim still holds; raises AudioEnded or Superseded. Reads what was stored since it was made."""
    for raw in await bus.history("AUDIO", audio_subject(job), after=claim.seq):
        if _is_end(raw):
            raise AudioEnded(f"the audio of {job} has ended")
        if _is_claim(raw):
            raise Superseded(f"the audio of {job} is in other hands")


async def end_audio(bus: Bus, job: str, end: int, after: int, generation: int = 1) -> None:
    """Store the mark that a job's audio ends at sample `end`, unless it has been claimed behind sequence `after`.

    Raises Superseded where it has, and where it has its end already.
    """
    mark = encode_audio(AudioFrame(end, b"", True, generation))
    while True:
        try:
            await bus.store(audio_subject(job), mark, after=after)
            return
        except Conflict:
            later = await bus.history("AUDIO", audio_subject(job), after=after)
        if not later or any(_is_claim(raw) or _is_end(raw) for raw in later):
            raise Superseded(f"the audio of {job} is in other hands")
        after = later[-1].seq  # frames that were sent twice


async def cut_audio(bus: Bus, job: str, at: int, after: int, wanted: Callable[[], bool]) -> None:
    """Store a request to cut a job's speech, made when all before sample `at` had been heard; not behind its end.

    `after`: the last message that was read. Gives up once `wanted` says no.
    """
    mark = encode_audio(AudioFrame(at, b"", cut=True))
    while wanted():
        try:
            await bus.store(audio_subject(job), mark, after=after)
            return
        except Conflict as conflict:
            if conflict.found is None or _is_end(conflict.found):
                return
            after = conflict.found.seq


def _is_end(raw: Raw) -> bool:
    frame = read_audio(raw.data)
    return frame is not None and frame.last


def _is_claim(raw: Raw) -> bool:
    frame = read_audio(raw.data)
    return frame is not None and not (frame.pcm or frame.last or frame.cut)
