"""`stenobus job`: a job as `GET /api/v1/jobs/{id}` tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from client.api import get_job, in_turn
from client.completion import JobId
from client.errors import broken
from client.shell import LOCAL, AsJson, Servers, print_json, told
from client.transcript import Segment, Summary, Transcript
from client.view import View, clean


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str | None = None


class Job(BaseModel):
    """The part of a job's record that is shown; times in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: str
    created_at: datetime | None = None
    options: _Options = _Options()
    duration: float | None = None
    segments: list[Segment] = Field(default_factory=list)
    summary: Summary | None = None

    @property
    def title(self) -> str | None:
        """What the client called it, else what its summary does."""
        return self.options.title or (self.summary.title if self.summary else None) or None


def job(job_id: JobId, as_json: AsJson = False, servers: Servers = LOCAL) -> None:
    """Show a job: its state, its transcript and its summary."""
    with told():
        _, record = asyncio.run(in_turn(servers, lambda server: get_job(server, job_id)))
        if as_json:
            print_json(record)
        else:
            show_job(record, Console(highlight=False))


def read_job(record: Mapping[str, Any]) -> Job:
    """Read a record; raises ServerError for one that is none."""
    try:
        return Job.model_validate(record)
    except ValidationError as exc:
        raise broken("job", exc) from exc


def show_job(record: Mapping[str, Any], console: Console) -> None:
    """Print state, transcript and summary; raises ServerError for a record that is none."""
    job = read_job(record)
    view = View(console, Transcript())
    view.line(clean(job.state) + (f", {job.duration:.1f} s of sound" if job.duration is not None else ""))
    view.segments(segment for segment in sorted(job.segments, key=lambda segment: segment.index) if segment.visible)
    if job.summary is not None:
        view.summary(job.summary)
