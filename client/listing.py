"""Jobs as `GET /api/v1/jobs` lists them, and as a person reads that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.table import Table
from rich.text import Text

from client.errors import broken
from client.view import clean, clock


class State(StrEnum):
    """Where a job stands."""

    CREATED = "created"
    STREAMING = "streaming"
    TRANSCRIBING = "transcribing"
    SUMMARIZING = "summarizing"
    COMPLETED = "completed"
    FAILED = "failed"


_STYLES = {State.COMPLETED: "green", State.FAILED: "red", State.STREAMING: "cyan"}


class Listed(BaseModel):
    """A job in a list; `duration` in seconds, None as long as it is not finished."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: str
    state: str
    created_at: datetime
    title: str | None = None
    duration: float | None = None
    text: str = ""


class Page(BaseModel):
    """Some of the jobs, as they came; `searched`: how many were looked at for them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    jobs: list[dict[str, Any]]
    next_cursor: str | None = None
    searched: int = 0


def read_page(answer: Mapping[str, Any]) -> Page:
    """Read what a server answers; raises ServerError for something else."""
    try:
        return Page.model_validate(answer)
    except ValidationError as exc:
        raise broken("list of jobs", exc) from exc


def read_listed(jobs: Sequence[Mapping[str, Any]]) -> list[Listed]:
    """Read the jobs of a page; raises ServerError for something else."""
    try:
        return [Listed.model_validate(job) for job in jobs]
    except ValidationError as exc:
        raise broken("job", exc) from exc


def one_line(text: str) -> str:
    """Foreign text without control characters and line breaks."""
    return " ".join(clean(text).split())


def titled(job: Listed) -> str:
    """What tells a job from others: when it was, and its title or its first words."""
    return f"{when(job.created_at)} {one_line(job.title or job.text) or job.state}"


def when(at: datetime) -> str:
    """A time where the person is, for a table."""
    return at.astimezone().strftime("%d %b %H:%M")


def length(duration: float | None) -> str:
    """A job's length; a dash where it is not known yet."""
    return "-" if duration is None else clock(duration)


def tabbed(job: Listed) -> str:
    """A job as a line for a pipe: id, time, state, seconds, title and first words, with tabs between."""
    seconds = "-" if job.duration is None else f"{job.duration:g}"
    at = job.created_at.isoformat(timespec="seconds")
    return "\t".join(map(one_line, (job.job_id, at, job.state, seconds, job.title or "-", job.text)))


def table(jobs: Sequence[Listed]) -> Table:
    """Jobs as a terminal shows them."""
    drawn = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("Id", "When", "State"):
        drawn.add_column(heading, no_wrap=True, overflow="fold" if heading == "Id" else "ellipsis")
    drawn.add_column("Length", no_wrap=True, justify="right")
    drawn.add_column("Title")
    for job in jobs:
        # Only this cell is cut where there is no room: of the columns, those that may wrap are made narrower first.
        title = Text(one_line(job.title or ""), style="bold", no_wrap=True, overflow="ellipsis")
        if words := one_line(job.text):
            title.append(f"  {words}" if title else words, style="not bold dim")
        state = Text(one_line(job.state), style=_STYLES.get(State(job.state), "") if job.state in set(State) else "")
        drawn.add_row(Text(one_line(job.job_id)), when(job.created_at), state, length(job.duration), title)
    return drawn
