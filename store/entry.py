"""A job as a list shows it, from some fields of its record. Pure: no I/O in this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from contract import JobOptions, Source, State
from store.digest import Digest
from store.search import Search

FIELDS = ("state", "created_at", "completed_at", "options", "samples", "digest")
"""What an entry is made of."""

TEXT = "text"
"""What is searched, beside the title."""

_STATE: TypeAdapter[State] = TypeAdapter(State)


@dataclass(frozen=True, slots=True)
class Entry:
    """A job in a list."""

    job: str
    state: State
    title: str | None
    created_at: datetime
    completed_at: datetime | None
    samples: int | None
    """Length of the sound at 16 kHz; None until the job is finished, as `segments` is."""
    segments: int | None
    language: str | None
    source: Source
    text: str
    """How the transcript begins, or where the words are that were searched for."""


def read_entry(job: str, fields: Mapping[str, str], search: Search | None) -> Entry | None:
    """Read a record; None where a word of `search` does not occur. Raises ValueError for what is not a job."""
    try:
        options = JobOptions.model_validate_json(fields["options"])
        brief = Digest.model_validate_json(fields["digest"]) if "digest" in fields else None
        completed_at, said = fields.get("completed_at"), fields.get(TEXT, "")
        title = options.title or (brief.title if brief else None)
        if search is not None and not search.matches(title or "", said):
            return None
        return Entry(
            job=job,
            state=_STATE.validate_python(fields["state"]),
            title=title,
            created_at=datetime.fromisoformat(fields["created_at"]),
            completed_at=datetime.fromisoformat(completed_at) if completed_at else None,
            samples=int(fields["samples"]) if "samples" in fields else None,
            segments=brief.segments if brief else None,
            language=(brief.language if brief else None) or options.language,
            source=options.source,
            text=(search.excerpt(said) if search else None) or (brief.text if brief else ""),
        )
    except KeyError as exc:
        raise ValueError(f"it has no field {exc}") from exc
