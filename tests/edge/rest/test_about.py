"""The documents that the server publishes about itself."""

from __future__ import annotations

import json

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from contract.asyncapi import specification
from edge.rest.about import get_asyncapi


async def test_a_document_is_served_with_a_tag() -> None:
    application = Starlette(routes=[Route("/asyncapi.json", get_asyncapi)])
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as http:
        first = await http.get("/asyncapi.json")
        assert first.status_code == 200
        assert first.headers["content-type"] == "application/vnd.aai.asyncapi+json;version=3.0.0"
        assert "max-age=300" in first.headers["cache-control"]
        assert first.json() == json.loads(json.dumps(specification()))
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await http.get("/asyncapi.json", headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = await http.get("/asyncapi.json", headers={"If-None-Match": '"other"'})
        assert other.status_code == 200
        assert (await http.post("/asyncapi.json")).status_code == 405
