"""The kinds of messages, and reading an event of any kind.

A reader of `events.<job>.>` meets kinds that a newer writer or a processor has added, and may meet events that break
the contract. `parse_event` passes over the former and raises for the latter; `read_event` leaves the latter to its
caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contract.deadletter import Dead, Redrive, Redriven
from contract.job import Closed, Completed, Opened, Replay, Replayed, Segmented
from contract.live import Attached, Partial, Progress, Snapshot, Speaking
from contract.message import ContractError, Message
from contract.speech import Utterance
from contract.summary import Summary
from contract.transcript import Transcript

EVENTS: tuple[type[Message], ...] = (
    *(Opened, Closed, Segmented, Transcript, Summary, Completed),
    *(Replay, Replayed, Dead, Redrive, Redriven),
)
"""What is published below `events.<job>`, all of it stored."""

LIVE: tuple[type[Message], ...] = (Progress, Speaking, Partial, Attached)
"""What is published below `live.<job>`, never stored. `Snapshot` is not among them: it only answers requests."""

ALL: tuple[type[Message], ...] = (*EVENTS, Utterance, *LIVE, Snapshot)


def kind_of(message: type[Message] | str) -> str:
    """The kind of a message class or of a subject: its third token; empty where there is none."""
    subject = message if isinstance(message, str) else message.SUBJECT
    return [*subject.split(".", 3), "", ""][2]


EVENT_KINDS: Mapping[str, type[Message]] = {kind_of(cls): cls for cls in EVENTS}

KINDS: Mapping[str, type[Message]] = {**EVENT_KINDS, **{kind_of(cls): cls for cls in LIVE}}
"""What can be followed, by its kind."""


def parse_event(subject: str, data: bytes, kinds: Mapping[str, type[Message]] = EVENT_KINDS) -> Message | None:
    """Read an event as the class of its kind; None for a kind that is not in `kinds`. Raises ContractError."""
    cls = kinds.get(kind_of(subject))
    return None if cls is None else cls.read(subject, data)


def read_event(
    subject: str,
    data: bytes,
    on_error: Callable[[str, ContractError], Message | None],
    kinds: Mapping[str, type[Message]] = EVENT_KINDS,
) -> Message | None:
    """Read an event as `parse_event` does; one that breaks the contract becomes what `on_error` returns for it."""
    try:
        return parse_event(subject, data, kinds)
    except ContractError as exc:
        return on_error(subject, exc)
