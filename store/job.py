"""What is kept of one job. Pure: no I/O in this file."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field

from contract import JobId, JobOptions, Samples, State, Summary, Transcript, transcript_text

_ORDER: dict[State, int] = {state: min(rank, 4) for rank, state in enumerate(get_args(State))} | {"deleted": 5}


class Job(BaseModel):
    """The record of one job. Times are UTC; positions in the sound are sample indexes at 16 kHz."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job: JobId
    state: State
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    options: JobOptions = JobOptions()
    samples: Samples = Field(0, description="Length of the sound, once the job is completed.")
    segments: list[Transcript] = Field(default_factory=list, description="In order of index.")
    summary: Summary | None = None

    @property
    def transcript(self) -> str:
        """All that was said, one line for each segment that has text."""
        return transcript_text(self.segments)


def earlier(state: State) -> list[State]:
    """States from which a job may advance to `state`."""
    return [other for other, rank in _ORDER.items() if rank < _ORDER[state]]
