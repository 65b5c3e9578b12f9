"""The record of a job, and what a list shows of it. Pure: no I/O in this file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contract import (
    JobId,
    JobOptions,
    Samples,
    Source,
    State,
    Summary,
    Transcript,
    language_of,
    transcript_text,
)
from store.search import Search, beginning

ENTRY_FIELDS = ("state", "created_at", "completed_at", "options", "samples", "digest")
"""The fields of a record that a list entry is made of."""

TEXT_FIELD = "text"
"""The field that is searched, besides the title."""

_ORDER: dict[State, int] = {state: min(rank, 4) for rank, state in enumerate(get_args(State))} | {"deleted": 5}
_STATE: TypeAdapter[State] = TypeAdapter(State)


class Job(BaseModel):
    """The record of one job. Times are UTC; positions in the audio are sample indexes at 16 kHz."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job: JobId
    state: State
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    options: JobOptions = JobOptions()
    samples: Samples = Field(0, description="Length of the audio, once the job is completed.")
    segments: list[Transcript] = Field(default_factory=list, description="In order of index.")
    summary: Summary | None = None

    @property
    def generation(self) -> int:
        """The generation that `segments` are of, or will be of for all that is known."""
        return self.summary.generation if self.summary else 1

    @property
    def transcript(self) -> str:
        """All text, one line for each segment that has any."""
        return transcript_text(self.segments)


def earlier(state: State) -> list[State]:
    """States from which a job may advance to `state`."""
    return [other for other, rank in _ORDER.items() if rank < _ORDER[state]]


class Digest(BaseModel):
    """What a list shows of a finished job; stored with its record, so that a list need not read the transcript."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str | None = None
    """The summary's. The title that the client gave is preferred to it."""
    language: str | None = None
    segments: int = 0
    text: str = ""
    """The beginning of the transcript."""


def digest_fields(transcripts: Sequence[Transcript], summary: Summary | None) -> dict[str, str]:
    """The fields of a record that only lists and searches read."""
    return {
        "digest": digest(transcripts, summary).model_dump_json(),
        TEXT_FIELD: searchable_text(transcripts, summary),
    }


def digest(transcripts: Sequence[Transcript], summary: Summary | None) -> Digest:
    """The digest of a finished job."""
    text = transcript_text(transcripts)
    return Digest(
        title=(summary.title or None) if summary else None,
        language=(summary.language if summary else None) or language_of(transcripts),
        segments=len(transcripts),
        text=beginning(text or (summary.summary if summary else "")),
    )


def searchable_text(transcripts: Iterable[Transcript], summary: Summary | None) -> str:
    """The transcript and then all texts of the summary, one line each."""
    lines = [transcript_text(transcripts)]
    if summary is not None:
        items = (" ".join(filter(None, (item.who, item.what, item.due))) for item in summary.action_items)
        lines += [summary.title, summary.summary, *summary.key_points, *summary.decisions, *items]
    return "\n".join(line for line in lines if line)


@dataclass(frozen=True, slots=True)
class Entry:
    """A job in a list."""

    job: str
    state: State
    title: str | None
    created_at: datetime
    completed_at: datetime | None
    samples: int | None
    """Length of the audio at 16 kHz; like `segments`, None until the job is finished."""
    segments: int | None
    language: str | None
    source: Source
    text: str
    """The beginning of the transcript, or the place that a search has found."""


def read_entry(job: str, fields: Mapping[str, str], search: Search | None) -> Entry | None:
    """Read fields of a record; None if `search` does not match. Raises ValueError if the record is not a job's."""
    try:
        options = JobOptions.model_validate_json(fields["options"])
        brief = Digest.model_validate_json(fields["digest"]) if "digest" in fields else None
        completed_at, text = fields.get("completed_at"), fields.get(TEXT_FIELD, "")
        title = options.title or (brief.title if brief else None)
        if search is not None and not search.matches(title or "", text):
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
            text=(search.excerpt(text) if search else None) or (brief.text if brief else ""),
        )
    except KeyError as exc:
        raise ValueError(f"it has no field {exc}") from exc
