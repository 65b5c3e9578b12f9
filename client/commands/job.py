"""`stenobus job`: one job with its transcript and its summary."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from client.api import get_job, try_each
from client.reading import Job, read
from client.shell import LOCAL, AsJson, JobId, Servers, exit_on_failure, print_json
from client.transcript import Transcript, is_visible
from client.view import View, clean, taken_line


def job(job_id: JobId, as_json: AsJson = False, servers: Servers = LOCAL) -> None:
    """Show a job: its state, its transcript and its summary."""
    with exit_on_failure():
        _, record = asyncio.run(try_each(servers, lambda server: get_job(server, job_id)))
        if as_json:
            print_json(record)
        else:
            show_job(record, Console(highlight=False))


def show_job(record: Mapping[str, Any], console: Console) -> None:
    """Print state, transcript and summary; raises ServerError for a record that breaks the contract."""
    job = read(Job, record, "job")
    view = View(console, Transcript())
    length = "" if job.duration is None else f"{job.duration:.1f} s of audio"
    view.line(", ".join(part for part in (clean(job.state), length, taken_line(job.options)) if part))
    view.segments(segment for segment in sorted(job.segments, key=lambda segment: segment.index) if is_visible(segment))
    if job.summary is not None:
        view.summary(job.summary)
