"""The kinds of events that a subscriber can select, by name or by class. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import ConfigDict, Field

from contract import EVENTS, KINDS, LIVE, ContractError, Message, Snapshot, kind_of, read_event

STREAM = "EVENTS"

ACCEPTED = ("events", "live", *KINDS)
"""Names that can be selected; `events` stands for everything that is stored, `live` for everything that is not."""


class Other(Message):
    """A stored event of a kind that this version does not know: a newer one, or that of some processor.

    Its fields are attributes; `model_extra` has them all.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    SUBJECT = "events.{job}.{rest}"

    rest: str = Field("", description="The subject after `events.<job>.`; its first token is the kind.")

    @classmethod
    def read(cls, subject: str, data: bytes) -> Other:
        """As `Message.read`; `rest` is taken from the subject, as the message itself does not have it."""
        found = cls.decode(data)
        _, job, rest = [*subject.split(".", 2), "", ""][:3]
        if job != found.job:
            raise ContractError(f"of job {found.job} but published on {subject}")
        return found.model_copy(update={"rest": rest})


@dataclass(frozen=True)
class Selection:
    """The selected kinds; `others`: also all stored kinds that are not in `stored`."""

    stored: Mapping[str, type[Message]]
    live: tuple[type[Message], ...]
    others: bool = False

    @property
    def any_stored(self) -> bool:
        """Whether the stream has to be read."""
        return self.others or bool(self.stored)

    def pattern(self, job: str) -> str:
        """The narrowest subject filter for the stored kinds; job: an id, or * for all."""
        if len(self.stored) == 1 and not self.others:
            return next(iter(self.stored.values())).pattern(job)
        return f"events.{job}.>"

    def read(self, subject: str, data: bytes, on_error: Callable[[str, ContractError], None]) -> Message | None:
        """Read a stored message as `contract.read_event` does; None for a kind that is not selected."""
        kind = kind_of(subject)
        kinds = {kind: Other} if self.others and kind not in self.stored else self.stored
        return read_event(subject, data, on_error, kinds)


def select(kinds: Iterable[str | type[Message]]) -> Selection:
    """Make a selection of names and classes, by default `events`; raises ValueError that names what is accepted."""
    stored: dict[str, type[Message]] = {}
    live: list[type[Message]] = []
    others = False
    for kind in tuple(kinds) or ("events",):
        others = others or kind == "events"
        for cls in _classes(kind):
            if cls.STREAM is None:
                live.append(cls)
            else:
                stored[kind_of(cls)] = cls
    return Selection(stored, tuple(dict.fromkeys(live)), others)


def _classes(kind: str | type[Message]) -> tuple[type[Message], ...]:
    match kind:
        case "events":
            return EVENTS
        case "live":
            return LIVE
        case str() if kind in KINDS:
            return (KINDS[kind],)
        case type() if issubclass(kind, Message) and kind is not Snapshot and kind.SUBJECT.startswith(_family(kind)):
            return (kind,)
    accepted = f"{', '.join(ACCEPTED)}, and classes of messages below events.<job> or live.<job>"
    raise ValueError(f"unknown kind {kind!r}; accepted: {accepted}")


def _family(cls: type[Message]) -> str:
    return {STREAM: "events.{job}.", None: "live.{job}."}.get(cls.STREAM, "\0")
