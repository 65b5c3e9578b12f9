"""What a list of jobs shows of a finished one, and what is searched in it. Pure: no I/O in this file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from contract import Summary, Transcript, language_of, transcript_text
from store.search import beginning


class Digest(BaseModel):
    """A finished job in a few words."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str | None = None
    """The summary's; the one that the client gave, if it did, comes first."""
    language: str | None = None
    segments: int = 0
    text: str = ""
    """How it begins."""


def digest_fields(transcripts: Sequence[Transcript], summary: Summary | None) -> dict[str, str]:
    """The fields of a record that a list reads."""
    return {
        "digest": digest(transcripts, summary).model_dump_json(),
        "text": searchable(transcripts, summary),
    }


def digest(transcripts: Sequence[Transcript], summary: Summary | None) -> Digest:
    """Put a finished job in a few words."""
    text = transcript_text(transcripts)
    return Digest(
        title=(summary.title or None) if summary else None,
        language=(summary.language if summary else None) or language_of(transcripts),
        segments=len(transcripts),
        text=beginning(text or (summary.summary if summary else "")),
    )


def searchable(transcripts: Iterable[Transcript], summary: Summary | None) -> str:
    """All that was said and all that was made of it, one line each: the transcript first."""
    lines = [transcript_text(transcripts)]
    if summary is not None:
        items = (" ".join(filter(None, (item.who, item.what, item.due))) for item in summary.action_items)
        lines += [summary.title, summary.summary, *summary.key_points, *summary.decisions, *items]
    return "\n".join(line for line in lines if line)
