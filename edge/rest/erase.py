"""Erasing a job: at once where it can be seen, and again later where somebody was still at work on it.

First the record becomes a tombstone, so that nobody brings it back and everybody is told; then the streams are purged.
What a late worker still writes there is found by the sweeps, which the store remembers and any edge may do. So nothing
is half erased for good, whoever dies: an erasure that has begun is carried through, and asking again repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.requests import Request
from starlette.responses import Response

from bus.erase import StillLive, erase, has_messages, settle
from contract import is_job_id
from edge.rest.lookup import answering
from edge.rest.problem import Problem
from edge.services import Services
from store.erasures import Tombstone
from store.jobs import StoreError

log = structlog.get_logger()

SWEEPS = (15.0, 60.0, 300.0, 1_800.0, 7_200.0)
"""Seconds from one sweep to the next. A sweep that finds something is repeated; the last one removes the marks too."""

LOOK_EVERY = 5.0
"""Seconds between two looks for sweeps that are due."""


async def delete(request: Request) -> Response:
    """`DELETE /api/v1/jobs/{id}`: 204 once its sound, speech, events and record are gone. Harmless to repeat."""
    services: Services = request.app.state.services
    job = request.path_params["job_id"]
    if not is_job_id(job):  # it becomes part of a filter, in which some characters match all
        raise Problem(404, f"no job {job!r}")
    tombstone = await services.store.erasures.get(job)
    settled = tombstone.settled if tombstone else await _settled(services, job)
    await services.store.erasures.erase(job, settled=settled, sweep_after=SWEEPS[0])
    try:
        async with answering(services):
            await erase(services.bus, job, mark=not settled)
    except Problem as problem:
        detail = f"{problem}; the record of job {job!r} is erased, and the rest will be: ask again to be told"
        raise Problem(503, detail, retry_after=problem.retry_after) from problem
    log.info("job erased", job=job, settled=settled)
    return Response(status_code=204)


async def _settled(services: Services, job: str) -> bool:
    """Whether nobody is at work on a job that has not been erased yet; raises Problem 404, 409 or 503."""
    record = await services.store.get(job)
    async with answering(services):
        if record is None and not await has_messages(services.bus, job):
            raise Problem(404, f"no job {job!r}")
        try:
            return await settle(services.bus, job, finished=record is not None and record.state == "completed")
        except StillLive as exc:
            detail = (
                f"job {job!r} is live: stop it first, with the command stop on its socket or by closing that; a job "
                "whose client is gone ends by itself"
            )
            raise Problem(409, detail) from exc


@asynccontextmanager
async def sweeping(services: Services) -> AsyncIterator[None]:
    """Do sweeps that are due for as long as the block runs."""
    task = asyncio.create_task(_sweep_regularly(services))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sweep_regularly(services: Services) -> None:
    await services.bus.connected.wait()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            due = await services.store.erasures.due()
        except StoreError as exc:
            log.warning("erased jobs not swept, trying again", reason=str(exc))
            continue
        for tombstone in due:
            try:
                await _sweep(services, tombstone)
            except (StoreError, Problem) as exc:
                log.warning("erased job not swept, trying again", job=tombstone.job, reason=str(exc))
            except Exception:  # one job's failure, whatever it is, is not another's
                log.exception("erased job not swept, trying again", job=tombstone.job)


async def _sweep(services: Services, tombstone: Tombstone) -> None:
    last = tombstone.sweeps >= len(SWEEPS) - 1
    async with answering(services):
        found = await erase(services.bus, tombstone.job, mark=not (tombstone.settled or last))
    if found:
        log.info("late messages of an erased job removed", job=tombstone.job)
    passed = tombstone.sweeps + (not found)
    again_after = SWEEPS[passed] if passed < len(SWEEPS) else None
    await services.store.erasures.swept(tombstone.job, passed, again_after)
