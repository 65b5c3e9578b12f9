"""`stenobus rm`: erase jobs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

import typer

from client.api import erase_job, get_job, try_each
from client.errors import RefusedError, ServerError
from client.reading import Job, read
from client.shell import LOCAL, AsJson, JobIds, Servers, exit_on_failure, print_json, print_note
from client.view import length, one_line, when


def rm(
    job_ids: JobIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Erase jobs with their audio, transcripts and summaries. This cannot be undone."""
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: give --yes", param_hint="--yes")
    failed = False
    with exit_on_failure():
        for job_id in dict.fromkeys(job_ids):
            try:
                job = asyncio.run(_get(servers, job_id))
                if yes or typer.confirm(f"Erase {described(job)}?", err=True):
                    asyncio.run(_erase(servers, job_id))
                    _print(job, as_json=as_json)
            except RefusedError as exc:
                failed = True
                print_note(reason(exc, job_id))
    if failed:
        raise typer.Exit(ServerError.exit_code)


def described(job: Job) -> str:
    """Describe a job so that a person recognises it: title, length, time, id."""
    title = f"“{one_line(job.title)}”" if job.title else "the job without a title"
    size = length(job.duration) if job.duration is not None else one_line(job.state)
    return f"{title} ({size}, {when(job.created_at)}; {job.job_id})"


def reason(refused: RefusedError, job_id: str) -> str:
    """Why a job was not erased, and what helps."""
    match refused.status:
        case HTTPStatus.CONFLICT:  # it is live
            return f"not erased: {refused.detail}"
        case HTTPStatus.GONE:
            return f"job {job_id} was erased before"
        case HTTPStatus.NOT_FOUND:
            return f"there is no job {job_id}"
    return f"not erased: {job_id}: {refused}"


async def _get(servers: Sequence[str], job_id: str) -> Job:
    return read(Job, (await try_each(servers, lambda server: get_job(server, job_id)))[1], "job")


async def _erase(servers: Sequence[str], job_id: str) -> None:
    await try_each(servers, lambda server: erase_job(server, job_id))


def _print(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job_id": job.job_id, "erased": True})
    else:
        typer.echo(f"erased: {described(job)}")
