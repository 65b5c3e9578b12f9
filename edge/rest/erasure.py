"""Erasing a job: at once all that is stored, and later what workers that were still busy with it wrote afterwards.

First the record becomes a tombstone, so that nothing recreates the job and every request learns that it is gone; then
the streams are purged. Sweeps purge again later. They are noted in the store, and any edge process may do them, so
that an erasure is completed whichever process dies. Repeating the request repeats the purge.
"""

from __future__ import annotations

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import Response

from bus.erase import StillLive, erase, has_messages, settle
from contract import is_job_id
from edge.capture.session import excerpt
from edge.rest.problem import Problem
from edge.rest.request import bus_deadline
from edge.services import Services
from store.erasures import Tombstone
from store.jobs import StoreError

log = structlog.get_logger()

SWEEPS = (15.0, 60.0, 300.0, 1_800.0, 7_200.0)
"""Seconds before each sweep. One that finds something is repeated; the last one removes the workers' marks, too."""

POLL_INTERVAL = 5.0
"""Seconds from one look for due sweeps to the next."""


async def erase_job(request: Request) -> Response:
    """`DELETE /api/v1/jobs/{id}`: 204 once its audio, speech, events and record are erased. Harmless to repeat."""
    services: Services = request.app.state.services
    job = request.path_params["job_id"]
    if not is_job_id(job):  # it becomes part of a subject filter, where some characters match all jobs
        raise Problem(404, f"no job {excerpt(repr(job))}")
    tombstone = await services.store.erasures.get(job)
    settled = tombstone.settled if tombstone else await _settle(services, job)
    await services.store.erasures.erase(job, settled=settled, sweep_after=SWEEPS[0])
    try:
        async with bus_deadline(services):
            await erase(services.bus, job, mark=not settled)
    except Problem as problem:
        detail = (
            f"{problem}; the record of job {job!r} is erased, the rest will be erased later; repeat the request to "
            "wait for that"
        )
        raise Problem(503, detail, retry_after=problem.retry_after) from problem
    log.info("job erased", job=job, settled=settled)
    return Response(status_code=204)


async def _settle(services: Services, job: str) -> bool:
    """End a job's audio for good; returns whether no worker is busy with it. Raises Problem 404, 409 or 503."""
    record = await services.store.get(job)
    async with bus_deadline(services):
        if record is None and not await has_messages(services.bus, job):
            raise Problem(404, f"no job {job!r}")
        try:
            return await settle(services.bus, job, finished=record is not None and record.state == "completed")
        except StillLive as exc:
            detail = (
                f"job {job!r} is live: stop it first, with the command stop on its socket or by closing the socket; a "
                "job whose client is gone ends by itself"
            )
            raise Problem(409, detail) from exc


async def sweep_regularly(services: Services) -> None:
    """Do the sweeps that are due, until cancelled."""
    await services.bus.connection.connected.wait()
    while True:
        await asyncio.sleep(POLL_INTERVAL)
        try:
            due = await services.store.erasures.claim_due()
        except StoreError as exc:
            log.warning("sweeps failed, trying again", reason=str(exc))
            continue
        for tombstone in due:
            try:
                await _sweep(services, tombstone)
            except (StoreError, Problem) as exc:
                log.warning("sweep failed, trying again", job=tombstone.job, reason=str(exc))
            except Exception:  # a failure with one job must not stop the sweeps of others
                log.exception("sweep failed, trying again", job=tombstone.job)


async def _sweep(services: Services, tombstone: Tombstone) -> None:
    last = tombstone.sweeps >= len(SWEEPS) - 1
    async with bus_deadline(services):
        found = await erase(services.bus, tombstone.job, mark=not (tombstone.settled or last))
    if found:
        log.info("late messages of an erased job removed", job=tombstone.job)
    done = tombstone.sweeps + (not found)
    next_after = SWEEPS[done] if done < len(SWEEPS) else None
    await services.store.erasures.swept(tombstone.job, done, next_after)
