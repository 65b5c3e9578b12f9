"""The list of jobs over REST."""

from __future__ import annotations

from typing import get_args

from pydantic import Field, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse

from contract import State, seconds
from contract.view import JobEntryView, JobListView
from edge.rest.lookup import Query, answer, read_query
from edge.rest.problem import Problem
from edge.services import Services
from store.entry import Entry
from store.listing import BadCursor
from store.search import Search

_LISTED: tuple[State, ...] = tuple(state for state in get_args(State) if state != "deleted")


class _Query(Query):
    status: tuple[State, ...] = ()
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=400)
    q: str = Field("", max_length=200)

    @field_validator("status", mode="before")
    @classmethod
    def _states(cls, value: str) -> tuple[str, ...]:
        states = tuple(state.strip() for state in value.split(",") if state.strip())
        if not set(states) <= set(_LISTED):
            raise ValueError(f"accepted are {', '.join(_LISTED)}, or several of them with commas between")
        return states


async def listing(request: Request) -> JSONResponse:
    """`GET /api/v1/jobs?status=&limit=&cursor=&q=`: jobs, newest first, with `next_cursor` where there are more.

    A search or a filter looks at a bounded number of jobs, `searched`, and then tells what it has found so far.
    """
    services: Services = request.app.state.services
    query = read_query(_Query, request)
    search = Search.of(query.q)
    try:
        page = await services.store.listing.page(
            query.limit, states=query.status, search=search if search.words else None, cursor=query.cursor
        )
    except BadCursor as exc:
        raise Problem(422, f"cursor: {exc}") from exc
    jobs = [_view(entry) for entry in page.entries]
    return answer(JobListView(jobs=jobs, next_cursor=page.cursor, searched=page.searched))


def _view(entry: Entry) -> JobEntryView:
    return JobEntryView(
        job_id=entry.job,
        state=entry.state,
        title=entry.title,
        created_at=entry.created_at,
        completed_at=entry.completed_at,
        duration=None if entry.samples is None else seconds(entry.samples),
        segments=entry.segments,
        language=entry.language,
        source=entry.source,
        text=entry.text,
    )
