"""What a capture socket would have told of a job, from the job's record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from audio import RATE
from client.errors import ServerError, broken

ROUNDING = RATE // 2_000
"""Samples by which the length in a record, in milliseconds, may be wrong."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: str
    state: str
    duration: float | None
    segments: list[dict[str, Any]]
    transcript: str
    summary: dict[str, Any] | None


def retell(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give a job's finals and, once it is completed, the last ack and the summary.

    Raises ServerError for a record that is none, and for a job that will never be completed.
    """
    try:
        job = _Record.model_validate(record)
    except ValidationError as exc:
        raise broken("job", exc) from exc
    if job.state in ("failed", "deleted"):
        raise ServerError(f"job {job.job_id} is {job.state}")
    messages: list[dict[str, Any]] = [{"type": "transcript_segment", **segment} for segment in job.segments]
    if job.state == "completed":
        messages += [
            {"type": "ack", "samples": round((job.duration or 0) * RATE)},
            {"type": "final_summary", **job.model_dump(include={"job_id", "summary", "transcript"})},
        ]
    return messages
