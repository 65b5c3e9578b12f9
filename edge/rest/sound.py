"""The sound of a job over REST: to be heard, and to be drawn. Also of a live job: what is stored so far."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple, Self

import structlog
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from bus import Bus
from bus.recording import Extent, SoundGone, extent, read_sound
from contract import RATE, WIDTH, seconds
from contract.view import PeaksView
from edge.rest.filename import disposition, file_name
from edge.rest.lookup import Query, answer, answering, find, read_query
from edge.rest.problem import Problem
from edge.rest.ranges import Unsatisfiable, byte_range
from edge.rest.streaming import Stream
from edge.rest.waveform import HEADER, Peaks, wav_header
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

POINTS = 1_000

_PIECE = 65_536
_DRAWN_WITHIN = 120.0
"""Seconds in which a drawing is made, or refused; a day's sound takes about a minute."""


class _Stretch(Query):
    start: float = Field(0.0, ge=0, allow_inf_nan=False)
    end: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end={self.end:g} is not after start={self.start:g}")
        return self


class _Drawing(_Stretch):
    points: int = Field(POINTS, ge=1, le=10_000)


class _Samples(NamedTuple):
    start: int
    end: int
    final: bool
    """Asked for again, it is the same."""


async def audio(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/audio.wav?start=&end=`: 16-bit mono at 16 kHz, also by byte ranges."""
    services: Services = request.app.state.services
    job = await find(request)
    start, end, final = await _stretch(services, job, read_query(_Stretch, request))
    size = HEADER + (end - start) * WIDTH
    headers = {
        "Content-Type": "audio/wav",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",  # what is erased is not to be heard from a cache
        "Content-Disposition": disposition("inline", file_name(job, "wav")),
    }
    if final:
        headers["ETag"] = f'"{job.job}-{start}-{end}"'
    try:
        wanted = byte_range(_range(request, headers.get("ETag")), size)
    except Unsatisfiable as exc:
        raise Problem(
            416, f"the range begins behind the end: {exc}", headers={"Content-Range": f"bytes */{size}"}
        ) from exc
    first, after = wanted or (0, size)
    headers["Content-Length"] = str(after - first)
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{after - 1}/{size}"
    body = _wav(services.bus, job.job, start, end, first, after)
    return Stream(body, 206 if wanted else 200, headers)


async def peaks(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/peaks?points=&start=&end=`: the lowest and highest sample of equal stretches, -1 to 1."""
    services: Services = request.app.state.services
    job = await find(request)
    query = read_query(_Drawing, request)
    whole = query == _Drawing()
    if whole and job.state == "completed" and (noted := await services.store.noted(job.job, "peaks")):
        return Response(noted, media_type="application/json")
    stretch = await _stretch(services, job, query)
    # It is the one thing here that costs seconds; the captures of this edge come first.
    async with answering(services, _DRAWN_WITHIN), request.app.state.drawing:
        drawn = await _draw(services.bus, job.job, stretch, query.points)
    view = PeaksView(
        job_id=job.job,
        start=seconds(stretch.start),
        end=seconds(stretch.end),
        points=len(drawn.low),
        min=drawn.low,
        max=drawn.high,
    )
    if whole and stretch.final:
        await services.store.note(job.job, "peaks", view.model_dump_json())
    return answer(view)


async def _stretch(services: Services, job: Job, query: _Stretch) -> _Samples:
    """What is asked for, in samples. Raises Problem where it is not there, or not any more."""
    async with answering(services):
        found = await extent(services.bus, job.job)
    if found is None:
        if job.state not in ("created", "streaming") and not (job.state == "completed" and job.samples == 0):
            raise Problem(410, f"the sound of job {job.job!r} is not kept any longer")
        found = Extent(0, 0, ended=job.state == "completed")
    start = round(query.start * RATE)
    end = found.end if query.end is None else min(round(query.end * RATE), found.end)
    if start > found.end:
        raise Problem(422, f"start={query.start:g}: the sound ends at {found.end / RATE:.3f} s")
    if start < found.first and end > start:
        kept = math.ceil(found.first * 1000 / RATE) / 1000
        detail = f"the sound of job {job.job!r} before {kept:g} s is not kept any longer; from start={kept:g} on it is"
        raise Problem(410, detail, available_from=kept)
    return _Samples(start, max(start, end), found.ended)


def _range(request: Request, tag: str | None) -> str | None:
    """The Range header, unless it is for something else than what would be sent: RFC 9110, 13.1.5."""
    condition = request.headers.get("If-Range")
    return request.headers.get("Range") if condition is None or condition == tag else None


async def _wav(bus: Bus, job: str, start: int, end: int, first: int, after: int) -> AsyncGenerator[bytes, None]:
    """Bytes `first` to before `after` of the file with the samples `start` to before `end`."""
    if first < HEADER:
        yield wav_header(end - start)[first:after]
    skip = max(0, first - HEADER)
    begin, left = start + skip // WIDTH, after - max(first, HEADER)
    skip %= WIDTH
    if left <= 0:
        return
    try:
        async with aclosing(_pieces(bus, job, begin, begin + (skip + left + WIDTH - 1) // WIDTH)) as pieces:
            async for pcm in pieces:
                piece = pcm[skip : skip + left]
                skip, left = 0, left - len(piece)
                yield piece
    except SoundGone as gone:
        log.warning("sound ends early", reason=str(gone))


async def _pieces(bus: Bus, job: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
    """The samples in pieces that are worth sending: a frame has 30 ms."""
    held = bytearray()
    async with aclosing(read_sound(bus, job, start, end)) as frames:
        async for pcm in frames:
            held += pcm
            if len(held) >= _PIECE:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


async def _draw(bus: Bus, job: str, stretch: _Samples, points: int) -> Peaks:
    drawn = Peaks(points, stretch.end - stretch.start)
    try:
        async with aclosing(_pieces(bus, job, stretch.start, stretch.end)) as pieces:
            async for pcm in pieces:
                drawn.take(pcm)
    except SoundGone as gone:
        raise Problem(410, str(gone)) from gone
    return drawn
