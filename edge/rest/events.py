"""The events of a job: as server-sent events, and those of kinds that processors have added.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from anyio import CancelScope
from pydantic import ConfigDict
from pydantic_core import to_json
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bus import Bus, Raw
from contract import EVENT_KINDS, Completed, ContractError, Message, kind_of, read_event
from contract.view import event_view
from edge.capture.session import excerpt
from edge.rest.problem import Problem
from edge.rest.request import Query, bus_deadline, find_job, read_query
from edge.services import Services

log = structlog.get_logger()

HEARTBEAT = 15.0
"""Seconds from one comment to the next, which keeps proxies from closing a silent connection."""

SEND_TIMEOUT = 60.0
"""Seconds without a client reading anything, after which its feed ends."""

_RETRY_MS = 2_000
"""Milliseconds after which a browser reconnects by itself."""


_sse = partial(ServerSentEvent, sep="\n")


class _Feed(EventSourceResponse):
    """Server-sent events. It ends when the generator does, when the client leaves, and when the client stops reading.

    The generator watches for the end of the process itself: signals belong to `bus.run`, so that the library, which
    looks for uvicorn's handlers, does not see it.
    """

    def __init__(self, events: AsyncGenerator[ServerSentEvent, None]) -> None:
        super().__init__(
            events,
            ping=HEARTBEAT,
            ping_message_factory=lambda: _sse(comment=""),
            send_timeout=SEND_TIMEOUT,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.warning("event feed ended", reason=f"the client read nothing for {SEND_TIMEOUT:g} s")


async def stream_events(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/events`: the stored events of a job, then new ones, until it is completed.

    `Last-Event-ID` continues after that event. A client that has seen the last event gets 204, after which a browser
    does not reconnect.
    """
    services: Services = request.app.state.services
    read_query(Query, request)
    job = await find_job(request)
    after = _last_event_id(request)
    async with bus_deadline(services):
        completed = await services.bus.last_raw(Completed.pattern(job.job))
    if completed is not None and after >= completed.seq:
        return Response(status_code=204)
    if completed is None and job.state == "completed":
        detail = f"the events of job {job.job!r} are no longer stored; GET /api/v1/jobs/{job.job} has the result"
        raise Problem(410, detail)
    return _Feed(_feed(services.bus, job.job, after))


def _last_event_id(request: Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Problem(
            400, f"Last-Event-ID: {excerpt(repr(text))} is not the id of an event; a whole number is accepted"
        )
    return int(text)


async def _feed(bus: Bus, job: str, after: int) -> AsyncGenerator[ServerSentEvent, None]:
    yield _sse(retry=_RETRY_MS)
    async with aclosing(_read_until_completed(bus, job, after)) as stored:
        async for raw in stored:
            if event := _server_sent(raw):
                yield event


async def _read_until_completed(bus: Bus, job: str, after: int) -> AsyncGenerator[Raw, None]:
    """The job's events; `completed` is the last one. Also ends when the process is stopping."""
    stopping = asyncio.create_task(bus.stopping.wait())
    async with aclosing(bus.read("EVENTS", f"events.{job}.>", after=after)) as stored:
        reading: asyncio.Task[Raw] | None = None
        try:
            while True:
                reading = asyncio.create_task(anext(stored))
                await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    return
                completed = reading.result()
                if completed.subject == Completed.pattern(job):
                    break
                yield completed
        finally:
            # anyio cancels every await of a cancelled scope, but the reader must be closed on the server, too.
            with CancelScope(shield=True):
                tasks = [task for task in (reading, stopping) if task]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    # A failed segment that was transcribed after all is stored after `completed`: send it before, under its own id.
    corrections = await bus.history("EVENTS", f"events.{job}.>", after=completed.seq)
    for correction in corrections:
        yield correction
    last = max([completed.seq, *(correction.seq for correction in corrections)])
    yield replace(completed, seq=last)


def _server_sent(raw: Raw) -> ServerSentEvent | None:
    """An event for clients; None for unknown kinds, unreadable messages, and what only workers need."""
    message = read_event(raw.subject, raw.data, _log_unreadable)
    view = None if message is None else event_view(message)
    if view is None:
        return None
    data = json.dumps(view.model_dump(mode="json"), ensure_ascii=False)
    return _sse(data=data, event=kind_of(raw.subject), id=str(raw.seq))


def _log_unreadable(subject: str, error: ContractError) -> None:
    log.warning("event cannot be read", subject=subject, reason=str(error))


class _Extra(Message):
    """An event of a kind that the contract does not have: any map that names its job."""

    model_config = ConfigDict(extra="allow")

    SUBJECT = "events.{job}.>"


def extra_json(data: bytes) -> dict[str, Any]:
    """The fields of an extra event as JSON: bytes in base64, NaN and infinity as null. Raises ContractError."""
    fields = _Extra.decode(data).model_dump(exclude={"job"})
    found: dict[str, Any] = json.loads(to_json(fields, bytes_mode="base64", inf_nan_mode="null"))
    return found


async def extra_events(bus: Bus, job: str) -> dict[str, Any]:
    """By kind, the last event on each `events.<job>.<kind>` that is not one of the contract's own."""
    found = {}
    for raw in await bus.latest("EVENTS", f"events.{job}.*"):
        kind = kind_of(raw.subject)
        if kind not in EVENT_KINDS:
            with suppress(ContractError):  # anyone may publish there
                found[kind] = extra_json(raw.data)
    return found
