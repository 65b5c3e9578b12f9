"""The REST requests that the client makes, and their addresses."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import httpx
from pydantic import ValidationError

from client.errors import ServerError, UnavailableError, UnreachableError, refusal
from client.reading import DeadPage, JobPage, Json, read
from client.route import http_options
from contract.view import CreatedView, ReplayView

TIMEOUT = 10.0
"""Seconds that a server may take to answer."""

_ERASING = 60.0

Answer = TypeVar("Answer")


def check_server(url: str) -> str:
    """Return a server's address without a trailing slash; raises ValueError that says what is accepted."""
    try:
        parts = urlsplit(url)
        httpx.URL(url)  # also knows which names are none
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        valid = False
    if not valid or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not an address like http://HOST:PORT or https://HOST/PREFIX")
    return url.rstrip("/")


@dataclass(frozen=True)
class CreatedJob:
    """A new job, and the absolute address of its capture socket."""

    job_id: str
    ws_url: str


async def create_job(server: str, options: Mapping[str, Any]) -> CreatedJob:
    """Create a job; raises UnreachableError if the server does not answer, ServerError if it refuses."""
    answer = await call("POST", server, "/api/v1/stream/create", json=options)
    try:
        created = CreatedView.model_validate(answer)
    except ValidationError as exc:
        raise ServerError(f"{server} created a job but named no job_id and ws_url") from exc
    try:
        return CreatedJob(created.job_id, _absolute(server, created.ws_url))
    except ValueError as exc:
        raise ServerError(f"the server sent a ws_url that is not valid: {created.ws_url}") from exc


def socket_url(server: str, job_id: str) -> str:
    """The address of a job's capture socket at any server."""
    return f"{_ws(server)}/api/v1/stream/{quote(job_id, safe='')}"


def _absolute(server: str, ws_url: str) -> str:
    """The address of a socket; one without a host is below the server, whether or not it has the server's path."""
    prefix = urlsplit(server).path
    if ws_url.startswith("/") and not ws_url.startswith(("//", f"{prefix}/")):
        ws_url = prefix + ws_url
    return urljoin(f"{_ws(server)}/", ws_url)


def _ws(server: str) -> str:
    return server.replace("http", "ws", 1)


async def get_job(server: str, job_id: str, generation: int | None = None) -> Json:
    """Fetch a job's record with the segments of a generation; raises UnreachableError, or ServerError.

    ServerError also for an unknown job.
    """
    return await call("GET", server, _job_path(job_id) + (f"?generation={generation}" if generation else ""))


async def replay_job(server: str, job_id: str, body: Mapping[str, Any]) -> int:
    """Start a replay and return the generation that it makes. Raises as `get_job` does."""
    answer = await call("POST", server, f"{_job_path(job_id)}/replay", json=body)
    return read(ReplayView, answer, "replay").generation


def audio_url(server: str, job_id: str) -> str:
    """The address of a job's audio, a WAV file."""
    return f"{server}{_job_path(job_id)}/audio.wav"


async def list_jobs(
    server: str,
    *,
    limit: int,
    status: str | None = None,
    query: str | None = None,
    cursor: str | None = None,
    timeout: float = TIMEOUT,
) -> JobPage:
    """Fetch some jobs, newest first. Raises as `get_job` does."""
    asked = {"limit": str(limit), "status": status, "q": query, "cursor": cursor}
    parameters = urlencode({name: value for name, value in asked.items() if value})
    return read(JobPage, await call("GET", server, f"/api/v1/jobs?{parameters}", timeout=timeout), "list of jobs")


async def export_job(server: str, job_id: str, extension: str) -> httpx.Response:
    """Fetch a job's transcript as a file of that type, with its headers. Raises as `get_job` does."""
    return await _request("GET", server, f"{_job_path(job_id)}/transcript.{extension}")


async def erase_job(server: str, job_id: str) -> None:
    """Erase a job with its audio and results. Raises as `get_job` does, RefusedError also for a live job."""
    await _request("DELETE", server, _job_path(job_id), timeout=_ERASING)


async def list_dead(server: str, job_id: str | None, limit: int) -> list[Json]:
    """Fetch dead letters, newest first. Raises as `get_job` does."""
    query = urlencode({"limit": limit} | ({} if job_id is None else {"job": job_id}))
    return read(DeadPage, await call("GET", server, f"/api/v1/dead?{query}"), "list of dead letters").dead


async def retry_dead(server: str, job_id: str, stream: str, seq: int) -> Json:
    """Request that a dead letter be tried again. Raises as `get_job` does."""
    path = f"/api/v1/dead/{quote(job_id, safe='')}/{quote(stream, safe='')}/{seq}/retry"
    return await call("POST", server, path)


def _job_path(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


async def try_each(servers: Sequence[str], ask: Callable[[str], Awaitable[Answer]]) -> tuple[int, Answer]:
    """Ask servers in turn until one answers; returns its index and the answer. Raises what the last one raises."""
    for index, server in enumerate(servers[:-1]):
        try:
            return index, await ask(server)
        except (UnreachableError, UnavailableError):
            continue
    return len(servers) - 1, await ask(servers[-1])


async def call(
    method: str, server: str, path: str, json: Mapping[str, Any] | None = None, timeout: float = TIMEOUT
) -> Json:
    """Make a request and return the JSON object of the answer; raises UnreachableError, ServerError."""
    response = await _request(method, server, path, json, timeout)
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ServerError(f"{server} does not answer like a Stenobus server: {path} gave no JSON object")
    return value


async def _request(
    method: str, server: str, path: str, json: Mapping[str, Any] | None = None, timeout: float = TIMEOUT
) -> httpx.Response:
    try:
        async with httpx.AsyncClient(timeout=timeout, **http_options(server)) as http:
            response = await http.request(method, server + path, json=json)
    except httpx.TransportError as exc:
        raise UnreachableError(f"cannot reach {server}: {explain(exc)}") from exc
    if not response.is_success:
        raise refusal(response.status_code, response.content, response.headers)
    return response


def explain(exc: BaseException) -> str:
    """Why a connection failed: the operating system's error below a library's, without its number."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return os.strerror(cause.errno).lower()
        nested = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = nested or cause.__cause__ or cause.__context__
    return str(exc) or type(exc).__name__
