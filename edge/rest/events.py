"""What happens to a job, as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from starlette.requests import Request
from starlette.responses import Response

from bus import Bus, Raw
from contract import Completed, ContractError, read_event
from contract.view import event_view
from edge.rest.lookup import Query, answering, find, read_query
from edge.rest.problem import Problem
from edge.rest.streaming import Stream
from edge.services import Services

log = structlog.get_logger()

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that nobody between closes the connection."""

_RETRY_MS = 2_000
"""When a browser is to come back, which it does by itself."""


async def events(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/events`: all that is stored about a job, then what comes, until it is completed.

    `Last-Event-ID` is honoured. Who has seen the end already gets 204, upon which a browser does not come back.
    """
    services: Services = request.app.state.services
    read_query(Query, request)
    job = await find(request)
    after = _last_event_id(request)
    async with answering(services):
        completed = await services.bus.last_raw(Completed.pattern(job.job))
    if completed is not None and after >= completed.seq:
        return Response(status_code=204)
    if completed is None and job.state == "completed":
        detail = (
            f"the events of job {job.job!r} are not kept any longer; GET /api/v1/jobs/{job.job} says what came of it"
        )
        raise Problem(410, detail)
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # nginx would hold events back until it has a page of them
    }
    return Stream(_feed(services.bus, job.job, after), headers=headers)


def _last_event_id(request: Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Problem(400, f"Last-Event-ID: {text!r} is not an id that an event had; a whole number is accepted")
    return int(text)


async def _feed(bus: Bus, job: str, after: int) -> AsyncGenerator[bytes, None]:
    yield f"retry: {_RETRY_MS}\n\n".encode()
    async with aclosing(_stored(bus, job, after)) as stored:
        async for raw in stored:
            if event := _encode(raw) if raw is not None else b":\n\n":
                yield event


async def _stored(bus: Bus, job: str, after: int) -> AsyncGenerator[Raw | None, None]:
    """The job's events until it is completed, which comes last; None for each HEARTBEAT without any."""
    stopping = asyncio.create_task(bus.stopping.wait())
    async with aclosing(bus.read("EVENTS", f"events.{job}.>", after=after)) as stored:
        waiting: asyncio.Task[Raw] | None = None
        try:
            while True:
                waiting = waiting or asyncio.create_task(anext(stored))
                await asyncio.wait([waiting, stopping], timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    raw, waiting = waiting.result(), None
                    if raw.subject == Completed.pattern(job):
                        break
                    yield raw
                elif stopping.done():
                    return
                else:
                    yield None
        finally:
            tasks = [task for task in (waiting, stopping) if task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    # A failed segment that was replaced by a good one has it behind the end: nobody would read on to find it.
    later = await bus.history("EVENTS", f"events.{job}.>", after=raw.seq)
    for correction in later:
        yield correction
    yield Raw(max([raw.seq, *(correction.seq for correction in later)]), raw.subject, raw.data, raw.time)


def _log_unreadable(subject: str, error: ContractError) -> None:
    log.warning("event cannot be read", subject=subject, reason=str(error))


def _encode(raw: Raw) -> bytes:
    """One event, or nothing for what is not told: kinds of a newer writer, and garbage."""
    message = read_event(raw.subject, raw.data, _log_unreadable)
    view = None if message is None else event_view(message)
    if view is None:
        return b""
    data = json.dumps(view.model_dump(mode="json"), ensure_ascii=False)
    kind = raw.subject.split(".")[2]
    return f"id: {raw.seq}\nevent: {kind}\ndata: {data}\n\n".encode()
