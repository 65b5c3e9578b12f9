"""The contract as a document: what is on the bus, and what the capture socket says."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from contract.asyncapi import MEDIA_TYPE, document

_FRESH = 300
"""Seconds for which nobody needs to ask again; afterwards the tag tells that it is still the same."""


@cache
def _document() -> tuple[bytes, str]:
    body = document().encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


async def asyncapi(request: Request) -> Response:
    """`GET /asyncapi.json`: AsyncAPI 3.0."""
    body, tag = await asyncio.to_thread(_document)
    headers = {"Cache-Control": f"public, max-age={_FRESH}", "ETag": tag}
    known = {name.strip().removeprefix("W/") for name in request.headers.get("If-None-Match", "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=MEDIA_TYPE)
