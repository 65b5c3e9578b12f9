"""The REST calls that a client needs, and the addresses that it calls."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import httpx

from client.errors import ServerError, UnavailableError, UnreachableError, refusal

TIMEOUT = 10.0
"""Seconds that a server may take to answer."""

_ERASING = 60.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Options:
    """What a capture may ask for; None leaves the choice to the server."""

    language: str | None = None
    title: str | None = None
    prompt: str | None = None
    task: str | None = None
    summary: bool = True

    def body(self) -> dict[str, Any]:
        """Give the JSON body of `POST /api/v1/stream/create`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def check_server(url: str) -> str:
    """Bring a server's address into the form the other functions take; raises ValueError that says what is accepted."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an address like http://HOST:PORT or https://HOST")
    return url.rstrip("/")


@dataclass(frozen=True)
class Job:
    """A job that was created, and the absolute address of its capture socket."""

    job_id: str
    ws_url: str


async def create_job(server: str, options: Options) -> Job:
    """Create a job; raises UnreachableError if nobody answers, ServerError if the server refuses."""
    created = await call("POST", server, "/api/v1/stream/create", json=options.body())
    match created:
        case {"job_id": str(job_id), "ws_url": str(ws_url)}:
            try:
                return Job(job_id, urljoin(f"{_ws(server)}/", ws_url))
            except ValueError as exc:
                raise ServerError(f"the server gave a ws_url that is none: {ws_url}") from exc
    raise ServerError(f"{server} created a job but named no job_id and ws_url")


def socket_url(server: str, job_id: str) -> str:
    """Give the address of a job's capture socket at any server."""
    return f"{_ws(server)}/api/v1/stream/{quote(job_id, safe='')}"


def _ws(server: str) -> str:
    return server.replace("http", "ws", 1)


async def get_job(server: str, job_id: str, generation: int = 1) -> dict[str, Any]:
    """Give the record of a job, with the segments of a generation; raises UnreachableError, or ServerError.

    ServerError also for an unknown job.
    """
    return await call("GET", server, _job_path(job_id) + (f"?generation={generation}" if generation > 1 else ""))


async def replay_job(server: str, job_id: str, body: dict[str, Any]) -> int:
    """Have a job's stored sound processed once more; gives the generation that comes of it. Raises as above."""
    answer = await call("POST", server, f"{_job_path(job_id)}/replay", json=body)
    if not isinstance(generation := answer.get("generation"), int):
        raise ServerError(f"{server} took a replay but named no generation")
    return generation


def sound_url(server: str, job_id: str) -> str:
    """Give the address of a job's sound, a WAV file."""
    return f"{server}{_job_path(job_id)}/audio.wav"


async def list_jobs(
    server: str,
    *,
    limit: int,
    status: str | None = None,
    query: str | None = None,
    cursor: str | None = None,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Give a page of jobs, newest first: `jobs`, `searched`, `next_cursor` where there are more; raises as above."""
    asked = {"limit": str(limit), "status": status, "q": query, "cursor": cursor}
    parameters = urlencode({name: value for name, value in asked.items() if value})
    return await call("GET", server, f"/api/v1/jobs?{parameters}", timeout=timeout)


async def export_job(server: str, job_id: str, extension: str) -> httpx.Response:
    """Give a job's transcript as a file of that kind, with its headers; raises as above."""
    return await _request("GET", server, f"{_job_path(job_id)}/transcript.{extension}")


async def erase_job(server: str, job_id: str) -> None:
    """Erase a job, its sound and all that was made of it; raises as above, RefusedError also for one that is live."""
    await _request("DELETE", server, _job_path(job_id), timeout=_ERASING)


def _job_path(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


async def in_turn(servers: Sequence[str], ask: Callable[[str], Awaitable[Answer]]) -> tuple[int, Answer]:
    """Ask the first of some servers that can answer, and say which it was; raises what the last of them raises."""
    for index, server in enumerate(servers[:-1]):
        try:
            return index, await ask(server)
        except (UnreachableError, UnavailableError):
            continue
    return len(servers) - 1, await ask(servers[-1])


async def call(
    method: str, server: str, path: str, json: dict[str, Any] | None = None, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """Give the JSON object that a request is answered with; raises UnreachableError, ServerError."""
    response = await _request(method, server, path, json, timeout)
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ServerError(f"{server} does not speak like a Stenobus server: {path} gave no JSON object")
    return value


async def _request(
    method: str, server: str, path: str, json: dict[str, Any] | None = None, timeout: float = TIMEOUT
) -> httpx.Response:
    try:
        async with httpx.AsyncClient(timeout=timeout) as http:
            response = await http.request(method, server + path, json=json)
    except httpx.TransportError as exc:
        raise UnreachableError(f"cannot reach {server}: {explain(exc)}") from exc
    if not response.is_success:
        raise refusal(response.status_code, response.content, response.headers)
    return response


def explain(exc: BaseException) -> str:
    """Why a connection failed, from the operating system's error below a library's, without its errno clutter."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return os.strerror(cause.errno).lower()
        nested = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = nested or cause.__cause__ or cause.__context__
    return str(exc) or type(exc).__name__
