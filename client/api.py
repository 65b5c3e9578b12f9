"""The two REST calls that the command line needs."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from client.errors import ServerError, UnreachableError, refusal

_TIMEOUT = httpx.Timeout(10.0)


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


async def create_job(server: str, options: Options) -> str:
    """Create a job and give the address of its capture socket, made absolute.

    Raises UnreachableError if nobody answers, ServerError if the server refuses.
    """
    job = await _call("POST", server, "/api/v1/stream/create", json=options.body())
    ws_url = job.get("ws_url")
    if not isinstance(ws_url, str):
        raise ServerError(f"{server} created a job but named no ws_url")
    return urljoin(f"{server.replace('http', 'ws', 1)}/", ws_url)


async def get_job(server: str, job_id: str) -> dict[str, Any]:
    """Give the record of a job; raises UnreachableError, or ServerError (also for an unknown job)."""
    return await _call("GET", server, f"/api/v1/jobs/{quote(job_id, safe='')}")


async def _call(method: str, server: str, path: str, json: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            response = await http.request(method, server + path, json=json)
    except httpx.TransportError as exc:
        raise UnreachableError(f"cannot reach {server}: {explain(exc)}") from exc
    if not response.is_success:
        raise refusal(response.status_code, response.content, response.headers)
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ServerError(f"{server} does not speak like a Stenobus server: {path} gave no JSON object")
    return value


def explain(exc: BaseException) -> str:
    """Why a connection failed, from the operating system's error below a library's, without its errno clutter."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return os.strerror(cause.errno).lower()
        nested = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = nested or cause.__cause__ or cause.__context__
    return str(exc) or type(exc).__name__
