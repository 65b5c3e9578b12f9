"""The files of the page over HTTP, and the content policy."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from edge.rest import reference
from edge.rest.openapi import specification
from edge.rest.routes import ENDPOINTS
from edge.web import FOLDER, TYPES
from tests.edge.web.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = sorted(
    path.relative_to(FOLDER).as_posix()
    for path in FOLDER.rglob("*")
    if path.suffix in TYPES and "vendor" not in path.parts
)

READABLE = 4.5
"""Contrast that WCAG 2.2 asks of text, success criterion 1.4.3."""

NAMED = r"""(?:from |import |URL\()"(\.[^"]+\.\w+)"|"[^"]*(/web/[^"]+)\""""
"""Other files that a file names: relative to itself, and in HTML below the path prefix."""

NAMESPACES = {"http://www.w3.org/2000/svg"}


@pytest_asyncio.fixture(loop_scope="module")
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/a1b2"])
async def test_the_page_may_load_nothing_external_or_inline(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["img-src"] == "'self'"
    assert "unsafe" not in " ".join(policy.values())
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "microphone=(self)" in response.headers["permissions-policy"]


async def test_each_response_has_its_own_nonce(http: httpx.AsyncClient) -> None:
    nonces = set()
    for _ in range(3):
        response = await http.get("/")
        found = re.search(r"'nonce-([\w-]{16,})'", response.headers["content-security-policy"])
        assert found is not None
        assert f'nonce="{found[1]}"' in response.text
        nonces.add(found[1])
    assert len(nonces) == 3


@pytest.mark.parametrize("file", [*OWN, "vendor/wavesurfer/wavesurfer.esm.js", "vendor/mediabunny/mediabunny.esm.js"])
async def test_each_file_has_its_type_and_is_sent_once(http: httpx.AsyncClient, file: str) -> None:
    response = await http.get(f"/web/{file}")
    assert response.status_code == 200
    assert response.headers["content-type"] == TYPES[f".{file.rpartition('.')[2]}"]
    assert response.content == (FOLDER / file).read_bytes()
    again = await http.get(f"/web/{file}", headers={"If-None-Match": f'"other", {response.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    assert again.headers["cache-control"] == "no-cache"


async def test_files_are_compressed_on_request(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/web/main.js", headers={"Accept-Encoding": "br, gzip"}) as response:
        raw = b"".join([part async for part in response.aiter_raw()])
    assert gzip.decompress(raw) == (FOLDER / "main.js").read_bytes()
    plain = await http.get("/web/main.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "path", ["/web/", "/web/nothing.js", "/web/../page.py", "/web/%2e%2e/page.py", "/web/vendor/wavesurfer/README.md"]
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_head_is_answered_and_other_methods_are_not(http: httpx.AsyncClient) -> None:
    assert (await http.head("/")).status_code == 200
    assert (await http.post("/")).status_code == 405


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, ground) for text in ("ink", "soft", "quiet", "accent") for ground in ("paper", "card", "raised")),
        ("accent", "tint"),
        ("ink", "tint"),
        ("quiet", "tint"),
        ("on-accent", "accent"),
        ("alarm", "alarm-tint"),
        ("alarm", "card"),
        ("on-alarm", "alarm"),
    ],
)
async def test_text_has_enough_contrast(theme: int, text: str, ground: str) -> None:
    colours = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", (FOLDER / "styles/base.css").read_text()))
    lighter, darker = sorted((luminance(colours[name].split(", ")[theme]) for name in (text, ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= READABLE


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("file", [*OWN, "index.html"])
async def test_every_referenced_file_exists(http: httpx.AsyncClient, file: str) -> None:
    text = (FOLDER / file).read_text()
    for relative, below in re.findall(NAMED, text):
        url = httpx.URL(f"{http.base_url}/web/{file}").join(relative or below)
        assert (await http.head(url)).status_code == 200, f"{file} names {relative or below}"
    foreign = set(re.findall(r"""https?://[^\s"'`)>]+""", re.sub(r"(?m)^\s*(\*|//|/\*\*).*$", "", text)))
    assert {url for url in foreign if re.match(r"https?://\w+\.\w", url)} <= NAMESPACES


async def test_every_file_is_used(http: httpx.AsyncClient) -> None:
    pages = [reference.page(specification(ENDPOINTS)), *((FOLDER / file).read_text() for file in [*OWN, "index.html"])]
    text = "\n".join(pages)
    names = {(relative or below).rpartition("/")[2] for relative, below in re.findall(NAMED, text)}
    assert {file.rpartition("/")[2] for file in OWN} <= names
