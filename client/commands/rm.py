"""`stenobus rm`: erase jobs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import typer

from client.api import erase_job, get_job, in_turn
from client.commands.job import read_job
from client.completion import JobIds
from client.errors import RefusedError, ServerError
from client.listing import length, one_line, when
from client.shell import LOCAL, AsJson, Servers, print_json, say, told


def rm(
    job_ids: JobIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Erase jobs: their sound, their transcripts and their summaries. There is no way back."""
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to ask: give --yes", param_hint="--yes")
    failed = False
    with told():
        for job_id in dict.fromkeys(job_ids):
            try:
                record = asyncio.run(_get(servers, job_id))
                if yes or typer.confirm(f"Erase {described(record, job_id)}?", err=True):
                    asyncio.run(_erase(servers, job_id))
                    _tell(record, job_id, as_json=as_json)
            except RefusedError as exc:
                failed = True
                say(reason(exc, job_id))
    if failed:
        raise typer.Exit(ServerError.exit_code)


def described(record: Mapping[str, Any], job_id: str) -> str:
    """A job so that a person knows which it is: its title, its length, when it was."""
    job = read_job(record)
    title = f"“{one_line(job.title)}”" if job.title else "the job without a title"
    facts = [length(job.duration) if job.duration is not None else one_line(job.state)]
    if job.created_at is not None:
        facts.append(when(job.created_at))
    return f"{title} ({', '.join(facts)}; {job_id})"


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


async def _get(servers: Sequence[str], job_id: str) -> dict[str, Any]:
    return (await in_turn(servers, lambda server: get_job(server, job_id)))[1]


async def _erase(servers: Sequence[str], job_id: str) -> None:
    await in_turn(servers, lambda server: erase_job(server, job_id))


def _tell(record: Mapping[str, Any], job_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"job_id": job_id, "erased": True})
    else:
        typer.echo(f"erased: {described(record, job_id)}")
