"""The audio of a job over REST: as a WAV file, and as peaks. Of a live job, what is stored so far."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import NamedTuple, Self

import structlog
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bus import Bus
from bus.recording import Extent, SoundGone, extent, read_sound
from contract import RATE, WIDTH, seconds
from contract.view import PeaksView
from edge.rest.export import disposition, file_name
from edge.rest.problem import Problem
from edge.rest.request import Query, bus_deadline, find_job, read_query, respond
from edge.rest.wav import HEADER_SIZE, Peaks, RangeNotSatisfiable, byte_range, wav_header
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

SEND_TIMEOUT = 60.0
"""Seconds without a client reading anything, after which its response ends."""

_LATEST = 1e8
"""Seconds, three years: no job is as long."""

_CHUNK = 65_536
"""Bytes that are sent at a time."""

_PEAKS_TIMEOUT = 120.0
"""Seconds that peaks may take; for 24 hours of audio it is about 60."""


class AudioQuery(Query):
    """A stretch of the audio."""

    start: float = Field(0.0, ge=0, le=_LATEST, allow_inf_nan=False, description="Seconds.")
    end: float | None = Field(
        None, gt=0, le=_LATEST, allow_inf_nan=False, description="Seconds; left out: all that there is."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end={self.end:g} is not after start={self.start:g}")
        return self


class PeaksQuery(AudioQuery):
    """A stretch of the audio, and into how many points it is divided."""

    points: int = Field(1_000, ge=1, le=10_000)


class _Stretch(NamedTuple):
    """Samples `start` to before `end`; `final`: a later request would get the same."""

    start: int
    end: int
    final: bool


async def get_audio(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/audio.wav?start=&end=`: 16-bit mono at 16 kHz, also by byte ranges."""
    services: Services = request.app.state.services
    job = await find_job(request)
    start, end, final = await _find_stretch(services, job, read_query(AudioQuery, request))
    size = HEADER_SIZE + (end - start) * WIDTH
    headers = {
        "Content-Type": "audio/wav",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",  # erased audio must not be found in a cache
        "Content-Disposition": disposition("inline", file_name(job, "wav")),
    }
    if final:
        headers["ETag"] = f'"{job.job}-{start}-{end}"'
    try:
        wanted = byte_range(_range_header(request, headers.get("ETag")), size)
    except RangeNotSatisfiable as exc:
        detail = f"the range begins after the end: {exc}"
        raise Problem(416, detail, headers={"Content-Range": f"bytes */{size}"}) from exc
    first, after = wanted or (0, size)
    headers["Content-Length"] = str(after - first)
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{after - 1}/{size}"
    chunks = _wav_chunks(services.bus, job.job, start, end, first, after)
    return ChunkedResponse(chunks, 206 if wanted else 200, headers)


async def get_peaks(request: Request) -> Response:
    """`GET /api/v1/jobs/{id}/peaks?points=&start=&end=`: the lowest and highest sample of equal stretches, -1 to 1."""
    services: Services = request.app.state.services
    job = await find_job(request)
    query = read_query(PeaksQuery, request)
    whole = query == PeaksQuery()
    if whole and job.state == "completed" and (cached := await services.store.cached(job.job, "peaks")):
        return Response(cached, media_type="application/json")
    stretch = await _find_stretch(services, job, query)
    # This takes seconds of CPU, so one at a time: the captures of this process come first.
    async with bus_deadline(services, _PEAKS_TIMEOUT), request.app.state.peaks_lock:
        peaks = await _read_peaks(services.bus, job.job, stretch, query.points)
    view = PeaksView(
        job_id=job.job,
        start=seconds(stretch.start),
        end=seconds(stretch.end),
        points=len(peaks.low),
        min=peaks.low,
        max=peaks.high,
    )
    if whole and stretch.final:
        await services.store.cache(job.job, "peaks", view.model_dump_json())
    return respond(view)


async def _find_stretch(services: Services, job: Job, query: AudioQuery) -> _Stretch:
    """The samples that a query asks for; raises Problem where they are not stored."""
    async with bus_deadline(services):
        found = await extent(services.bus, job.job)
    if found is None:
        if job.state not in ("created", "streaming") and not (job.state == "completed" and job.samples == 0):
            raise Problem(410, f"the audio of job {job.job!r} is no longer stored")
        found = Extent(0, 0, ended=job.state == "completed")
    start = round(query.start * RATE)
    end = found.end if query.end is None else min(round(query.end * RATE), found.end)
    if start > found.end:
        raise Problem(422, f"start={query.start:g}: the audio ends at {found.end / RATE:.3f} s")
    if start < found.first and end > start:
        first = math.ceil(found.first * 1000 / RATE) / 1000
        detail = f"the audio of job {job.job!r} before {first:g} s is no longer stored; use start={first:g}"
        raise Problem(410, detail, available_from=first)
    return _Stretch(start, max(start, end), found.ended)


def _range_header(request: Request, tag: str | None) -> str | None:
    """The Range header, unless If-Range names other content: RFC 9110, section 13.1.5."""
    condition = request.headers.get("If-Range")
    return request.headers.get("Range") if condition is None or condition == tag else None


async def _wav_chunks(bus: Bus, job: str, start: int, end: int, first: int, after: int) -> AsyncGenerator[bytes, None]:
    """Bytes `first` to before `after` of the file with the samples `start` to before `end`."""
    if first < HEADER_SIZE:
        yield wav_header(end - start)[first:after]
    skip = max(0, first - HEADER_SIZE)
    begin, left = start + skip // WIDTH, after - max(first, HEADER_SIZE)
    skip %= WIDTH
    if left <= 0:
        return
    try:
        async with aclosing(_pcm_chunks(bus, job, begin, begin + (skip + left + WIDTH - 1) // WIDTH)) as chunks:
            async for pcm in chunks:
                chunk = pcm[skip : skip + left]
                skip, left = 0, left - len(chunk)
                yield chunk
    except SoundGone as gone:
        log.warning("audio ends early", reason=str(gone))


async def _pcm_chunks(bus: Bus, job: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
    """Samples in chunks of a size that is worth sending: a frame has only 30 ms."""
    held = bytearray()
    async with aclosing(read_sound(bus, job, start, end)) as frames:
        async for pcm in frames:
            held += pcm
            if len(held) >= _CHUNK:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


async def _read_peaks(bus: Bus, job: str, stretch: _Stretch, points: int) -> Peaks:
    peaks = Peaks(points, stretch.end - stretch.start)
    try:
        async with aclosing(_pcm_chunks(bus, job, stretch.start, stretch.end)) as chunks:
            async for pcm in chunks:
                peaks.take(pcm)
    except SoundGone as gone:
        raise Problem(410, str(gone)) from gone
    return peaks


class ChunkedResponse(Response):
    """Sends what a generator yields, and asks it for more only when the client has read that.

    The generator is closed when the client leaves, or reads nothing for `SEND_TIMEOUT`.
    """

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = status
        self.background = None
        self._chunks = chunks
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; for HEAD only the headers."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await self._chunks.aclose()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        sending, leaving = asyncio.create_task(self._send(send)), asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = sending.done()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if ended:
            sending.result()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(SEND_TIMEOUT):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    log.warning("response ended", reason=f"the client read nothing for {SEND_TIMEOUT:g} s")
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
