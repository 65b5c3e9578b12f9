"""Reads the stored utterances of a job backwards: the last one, and the one before another."""

from __future__ import annotations

from typing import NamedTuple

from bus.streams import Bus, Raw
from contract import ContractError, Snapshot, Source, Utterance


class LastUtterance(NamedTuple):
    """The last utterance of one generation of a job; `utterance` is None and `seq` 0 where there is none."""

    utterance: Utterance | None
    seq: int
    """Its sequence in stream SPEECH."""
    subject_seq: int
    """The sequence that the next utterance must follow: another program may have stored garbage behind this one."""


async def last_utterance(bus: Bus, job: str, source: Source = "live", generation: int = 1) -> LastUtterance:
    """Read a job's last utterance."""
    subject = Utterance.pattern(job, source=source, generation=str(generation))
    raw = await bus.last_raw(subject)
    if raw is None:
        return LastUtterance(None, 0, 0)
    utterance = decode_utterance(raw)
    if utterance is not None:
        return LastUtterance(utterance, raw.seq, raw.seq)
    for older in reversed(await bus.history("SPEECH", subject)):
        if utterance := decode_utterance(older):
            return LastUtterance(utterance, older.seq, raw.seq)
    return LastUtterance(None, 0, raw.seq)


async def utterance_before(bus: Bus, later: Utterance | Snapshot) -> Utterance | None:
    """The utterance before this one or before an open segment; None if there is none, or it is no longer stored."""
    if not later.previous_seq:
        return None
    raw = await bus.stored("SPEECH", later.previous_seq)
    of_live = Utterance.pattern(later.job, generation="1", source="live")
    if raw is None or raw.subject != (of_live if isinstance(later, Snapshot) else later.subject):
        return None
    found = decode_utterance(raw)
    # The order of indexes also ends every chain, whatever another program has stored.
    return found if found is not None and not found.last and found.index == later.index - 1 else None


def decode_utterance(raw: Raw) -> Utterance | None:
    """The utterance, or None if it cannot be decoded."""
    try:
        return Utterance.decode(raw.data)
    except ContractError:
        return None
