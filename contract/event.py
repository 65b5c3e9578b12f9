"""The kinds of messages that there are, and reading an event of any kind."""

from __future__ import annotations

from contract.deadletter import Dead, Redrive, Redriven
from contract.job import Closed, Completed, Opened, Replay, Replayed, Segmented
from contract.live import Attached, Partial, Progress, Snapshot, Speaking
from contract.message import Message
from contract.speech import Utterance
from contract.summary import Summary
from contract.transcript import Transcript

EVENTS: tuple[type[Message], ...] = (
    *(Opened, Closed, Segmented, Transcript, Summary, Completed),
    *(Replay, Replayed, Dead, Redrive, Redriven),
)
"""Everything that is published below `events.<job>`."""

ALL: tuple[type[Message], ...] = (*EVENTS, Utterance, Progress, Speaking, Snapshot, Partial, Attached)


def kind_of(cls: type[Message]) -> str:
    """The name of a kind: the third token of its subject."""
    return cls.SUBJECT.split(".")[2]


_BY_KIND = {kind_of(cls): cls for cls in EVENTS}


def parse_event(subject: str, data: bytes) -> Message | None:
    """Read any message of `events.<job>.<kind>...`; None for a kind of a newer writer; raises ContractError."""
    tokens = subject.split(".")
    cls = _BY_KIND.get(tokens[2]) if len(tokens) > 2 else None
    return None if cls is None else cls.read(subject, data)
