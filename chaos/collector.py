"""From the bus and the store to the evidence of one meeting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bus import Bus, Raw
from chaos.client import Client
from chaos.evidence import Evidence, Piece, Segment, assemble, witnesses
from contract import CORRECTED, Closed, ContractError, Message, Transcript, Utterance, read_event
from contract.audio import AudioFrame, audio_subject, decode_audio
from store.jobs import JobStore


async def collect(bus: Bus, store: JobStore, client: Client) -> Evidence:
    """Everything about a client's meeting. What cannot be read is garbage from a fault and is skipped."""
    job = client.job
    pcm, pieces = assemble(_frames(await bus.history("AUDIO", audio_subject(job))))
    speech = [*_utterances(await bus.history("SPEECH", Utterance.pattern(job, generation="1")))]
    events = [*_events(await bus.history("EVENTS", f"events.{job}.>"))]
    transcripts = [event for event in events if isinstance(event, Transcript)]
    closed = [event for event in events if isinstance(event, Closed)]
    record = await store.get(job)
    return Evidence(
        name=client.name,
        job=job,
        sent=client.sent,
        told=client.told,
        pcm=pcm,
        pieces=pieces,
        stored_at=await _times(bus, witnesses(client.told.acks, pieces).values()),
        speech=[Segment(item.index, item.start, item.end) for item in speech if not item.last],
        counts=[(item.index, item.end) for item in speech if item.last],
        transcripts=_segments(transcripts, 1),
        corrected=_segments(transcripts, CORRECTED),
        kinds=Counter(event.subject.split(".")[2] for event in events),
        closed=closed[-1].samples if closed else None,
        record=_segments(record.segments, record.generation) if record else [],
        generation=record.generation if record else 1,
        state=record.state if record else "not in the store",
    )


def _segments(transcripts: Iterable[Transcript], generation: int) -> list[Segment]:
    found = (item for item in transcripts if item.generation == generation)
    return [Segment(item.index, item.start, item.end, item.text) for item in found]


def _frames(raws: Iterable[Raw]) -> Iterable[tuple[int, AudioFrame]]:
    for raw in raws:
        try:
            yield raw.seq, decode_audio(raw.data)
        except ContractError:
            continue


def _utterances(raws: Iterable[Raw]) -> Iterable[Utterance]:
    for raw in raws:
        try:
            yield Utterance.decode(raw.data)
        except ContractError:
            continue


def _events(raws: Iterable[Raw]) -> Iterable[Message]:
    for raw in raws:
        if event := read_event(raw.subject, raw.data, lambda _subject, _error: None):
            yield event


async def _times(bus: Bus, pieces: Iterable[Piece]) -> dict[int, float]:
    """When messages of AUDIO were stored, in seconds since 1970, by sequence; the bus must be on this machine."""
    found = {}
    for seq in {piece.seq for piece in pieces}:
        message = await bus.stored("AUDIO", seq)
        assert message is not None  # noqa: S101 - chaos removes no audio
        found[seq] = message.time.timestamp()
    return found
