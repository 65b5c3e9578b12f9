"""What the server says about itself: whether it is ready, and what its interfaces are."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache

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
    body, tag = await asyncio.to_thread(_asyncapi)
    return document_response(request, body, tag, asyncapi.MEDIA_TYPE)


@cache
def _asyncapi() -> tuple[bytes, str]:
    return tagged(asyncapi.document())


def tagged(text: str) -> tuple[bytes, str]:
    """A document in UTF-8 with its entity tag."""
    body = text.encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def document_response(request: Request, body: bytes, tag: str, media_type: str) -> Response:
    """A document that clients may keep; 304 for those who have it already."""
    headers = {"Cache-Control": f"public, max-age={_MAX_AGE}", "ETag": tag}
    known = {name.strip().removeprefix("W/") for name in request.headers.get("If-None-Match", "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
