"""The description of REST: it is valid, it is complete, and the answers are as described."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from starlette.routing import Route

from bus import Bus
from bus.connection import Connection
from contract import Dead
from edge import web
from edge.app import application
from edge.rest.openapi import specification
from edge.rest.routes import ENDPOINTS
from edge.services import Settings, services
from store.jobs import StoreSettings
from tests.edge.conftest import Edge
from tests.edge.meeting import hold

SPECIFICATION: dict[str, Any] = json.loads(json.dumps(specification(ENDPOINTS)))


def test_it_is_valid_openapi() -> None:
    validate(SPECIFICATION, cls=OpenAPIV31SpecValidator)
    names = [operation["operationId"] for methods in SPECIFICATION["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_every_route_is_described_and_no_other() -> None:
    async with services(Bus(Connection("nats://127.0.0.1:1")), Settings(), StoreSettings()) as shared:
        app = application(shared)
    page = {route.path for route in web.routes() if isinstance(route, Route)}
    served = {
        (method, re.sub(r":\w+}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path not in page
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(method.upper(), path) for path, methods in SPECIFICATION["paths"].items() for method in methods}
    assert served == described


def check(path: str, method: str, response: httpx.Response) -> None:
    """Fail unless a JSON answer has the form that is described for its status, with no member more."""
    media_type = response.headers["content-type"]
    described = SPECIFICATION["paths"][path][method]["responses"][str(response.status_code)]
    schema = described["content"][media_type]["schema"]
    Draft202012Validator({**schema, "components": SPECIFICATION["components"]}).validate(response.json())
    model = SPECIFICATION["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert set(response.json()) <= set(model["properties"])


async def test_answers_are_as_described(edge: Edge, worker: Bus, redis_url: str) -> None:
    async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
        created = await http.post("/api/v1/stream/create", json={"title": "Standup"})
        job = created.json()["job_id"]
        await hold(worker, redis_url, job)
        await worker.publish(Dead(job=job, stream="EVENTS", seq=1, at=f"events.{job}.opened", reason="x", worker="w"))
        check("/api/v1/stream/create", "post", created)
        check("/api/v1/stream/create", "post", await http.post("/api/v1/stream/create", json={"titel": ""}))
        check("/api/v1/jobs/{job_id}/replay", "post", await http.post(f"/api/v1/jobs/{job}/replay"))
        for path, parameters in [
            ("/api/v1/jobs", ""),
            ("/api/v1/jobs", "?limit=0"),
            ("/api/v1/jobs/{job_id}", ""),
            ("/api/v1/jobs/{job_id}/peaks", "?points=5"),
            ("/api/v1/jobs/{job_id}/transcript.{format}", ""),
            ("/api/v1/dead", ""),
            ("/healthz", ""),
            ("/readyz", ""),
        ]:
            url = path.replace("{job_id}", job).replace("{format}", "json") + parameters
            check(path, "get", await http.get(url))
        assert (await http.delete(f"/api/v1/jobs/{job}")).status_code == 204
        check("/api/v1/jobs/{job_id}", "get", await http.get(f"/api/v1/jobs/{job}"))


async def test_the_document_and_the_page_are_served(edge: Edge) -> None:
    document = await edge.get("/openapi.json")
    assert document.json() == SPECIFICATION
    page = await edge.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    targets, links = _read(page.text)
    assert {link[1:] for link in links if link.startswith("#")} <= targets
    for link in links - {"/docs"}:
        assert link.startswith("#") or (await edge.get(link)).status_code == 200, link


def _read(page: str) -> tuple[set[str], set[str]]:
    """The ids of a page, and what it links to or loads."""
    targets: set[str] = set()
    links: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if name == "id":
                    targets.add(value or "")
                if name in ("href", "src"):
                    links.add(value or "")

    Reader().feed(page)
    return targets, links
