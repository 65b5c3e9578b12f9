"""What the shell offers when a job is to be named: the newest ones, if the server is quick to tell them."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from client.api import in_turn, list_jobs
from client.errors import ClientError
from client.listing import Listed, titled
from client.shell import servers_of

_OFFERED = 50
_WITHIN = 1.0
"""Seconds; somebody is waiting at a prompt."""


def complete_job(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids that begin so, each with what tells it from the others; none when anything is wrong."""
    try:
        servers = context.params.get("servers") or servers_of([os.environ.get("STENOBUS_URL", "")])
        found = asyncio.run(asyncio.wait_for(_newest(servers), _WITHIN))
        jobs = [Listed.model_validate(job) for job in found]
    except (ClientError, typer.BadParameter, ValidationError, TimeoutError):
        return []
    return [(job.job_id, titled(job)) for job in jobs if job.job_id.startswith(incomplete)]


async def _newest(servers: list[str]) -> list[Any]:
    _, page = await in_turn(servers, lambda server: list_jobs(server, limit=_OFFERED, timeout=_WITHIN))
    return page.get("jobs") or []


JobId = Annotated[str, typer.Argument(metavar="ID", autocompletion=complete_job)]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", autocompletion=complete_job)]
AnyJob = Annotated[str | None, typer.Argument(metavar="ID", autocompletion=complete_job)]
