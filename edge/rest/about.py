"""What the server says about itself: whether it is ready, and what its interfaces are."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from contract import asyncapi
from contract.view import HealthView, ReadyView
from edge.rest.request import respond
from edge.services import Services

_MAX_AGE = 300
"""Seconds for which a client may use a document without asking again; after that its tag answers."""


async def get_health(_request: Request) -> JSONResponse:
    """`GET /healthz`: this process answers."""
    return respond(HealthView())


async def get_readiness(request: Request) -> JSONResponse:
    """`GET /readyz`: 200 when the bus, the store and a worker of each kind answer, else 503 with what is missing."""
    services: Services = request.app.state.services
    checks = await services.checks()
    ready = all(check == "ok" for check in checks.values())
    return respond(ReadyView(status="ready" if ready else "waiting", checks=checks), 200 if ready else 503)


async def get_asyncapi(request: Request) -> Response:
    """`GET /asyncapi.json`: the messages on the bus and on the capture socket, AsyncAPI 3.0."""
    return await serve_document(request, asyncapi.MEDIA_TYPE, asyncapi.document)


async def serve_document(
    request: Request, media_type: str, build: Callable[[str], str], headers: Mapping[str, str] | None = None
) -> Response:
    """A document that is built once and that clients may keep; 304 for those who have it already.

    build: called with the path prefix below which clients reach this server.
    """
    body, tag = await asyncio.to_thread(_built, build, request.scope["root_path"])
    caching = {"Cache-Control": f"public, max-age={_MAX_AGE}", "ETag": tag, "Vary": "X-Forwarded-Prefix"}
    sent = {**caching, **(headers or {})}
    known = {name.strip().removeprefix("W/") for name in request.headers.get("If-None-Match", "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=sent)
    return Response(body, headers=sent, media_type=media_type)


@lru_cache(maxsize=32)
def _built(build: Callable[[str], str], root: str) -> tuple[bytes, str]:
    body = build(root).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'
