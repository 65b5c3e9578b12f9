"""Transcripts to take away, also of a live job: what there is so far."""

from __future__ import annotations

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from edge.rest.export import FORMATS
from edge.rest.filename import disposition, file_name
from edge.rest.lookup import Query, find, read_query, segments_of
from edge.rest.problem import Problem


class _Query(Query):
    generation: int = Field(1, ge=1)


async def transcript(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/transcript.{txt,srt,vtt,json,md}?generation=`."""
    extension = request.path_params["format"]
    if extension not in FORMATS:
        accepted = ", ".join(f"transcript.{name}" for name in FORMATS)
        raise Problem(404, f"no format {extension!r} of a transcript; there are {accepted}")
    query = read_query(_Query, request)
    job = await find(request)
    segments = await segments_of(request.app.state.services, job, query.generation)
    form = FORMATS[extension]
    headers = {
        "Content-Type": form.media_type,
        "Content-Disposition": disposition("attachment", file_name(job, extension)),
        "Cache-Control": "private, no-store",
    }
    return Response(form.write(job, segments), headers=headers)
