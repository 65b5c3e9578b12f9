"""A job as `GET /api/v1/jobs/{id}` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from client.errors import broken
from client.transcript import Segment, Summary, Transcript
from client.view import View, clean


class Job(BaseModel):
    """The part of a job's record that is shown; times in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: str
    duration: float | None = None
    segments: list[Segment] = Field(default_factory=list)
    summary: Summary | None = None


def show_job(record: Mapping[str, Any], console: Console) -> None:
    """Print state, transcript and summary; raises ServerError for a record that is none."""
    try:
        job = Job.model_validate(record)
    except ValidationError as exc:
        raise broken("job", exc) from exc
    view = View(console, Transcript())
    view.line(clean(job.state) + (f", {job.duration:.1f} s of sound" if job.duration is not None else ""))
    view.segments(segment for segment in sorted(job.segments, key=lambda segment: segment.index) if segment.visible)
    if job.summary is not None:
        view.summary(job.summary)
