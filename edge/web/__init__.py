"""The web page: the files of this folder, read once and served from memory."""

from __future__ import annotations

import gzip
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

FOLDER = Path(__file__).parent

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
"""The files that are served, by suffix. The tables of the operating system differ between machines."""

_NONCE, _ROOT = b"{nonce}", b"{root}"
"""What the page has in place of its nonce, and of the path prefix before its links."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    # The waveform adds a style sheet to its shadow tree, with the nonce of the page.
    "style-src": "'self' 'nonce-{nonce}'",
    "img-src": "'self'",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Content-Security-Policy: nothing external, nothing inline. `'self'` covers the WebSocket: CSP 3, 6.7.2.8."""

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    gzipped: bytes
    type: str
    tag: str

    @classmethod
    def load(cls, path: Path) -> _Asset:
        body = path.read_bytes()
        # Weak: the plain and the compressed bytes have the same tag.
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
        return cls(body, gzip.compress(body, mtime=0), TYPES[path.suffix], tag)

    def response(self, request: Request) -> Response:
        # A file keeps its name when its content changes, so browsers must revalidate it each time.
        headers = {**_HEADERS, "Cache-Control": "no-cache", "ETag": self.tag, "Vary": "Accept-Encoding"}
        if self.tag in (tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return Response(self.gzipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.type)
        return Response(self.body, headers=headers, media_type=self.type)


def routes() -> list[BaseRoute]:
    """The page at `/`, `/jobs` and `/jobs/{job_id}`, which its JavaScript tells apart, and its files below `/web`."""
    html = (FOLDER / "index.html").read_bytes()
    assets = dict(_assets(FOLDER))
    policy = "; ".join(f"{directive} {sources}" for directive, sources in _POLICY.items())

    async def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        # Behind a proxy that does not tell its prefix, relative links lead to the right place.
        root = request.scope["root_path"] or (".." if request.path_params else ".")
        headers = {
            **_HEADERS,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy.replace("{nonce}", nonce),
        }
        body = html.replace(_NONCE, nonce.encode()).replace(_ROOT, root.encode())
        return Response(body, headers=headers, media_type="text/html; charset=utf-8")

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params["path"])
        if found is None:
            raise HTTPException(404, f"the page has no file {request.path_params['path']!r}")
        return found.response(request)

    return [
        Route("/", page),
        Route("/jobs", page),
        Route("/jobs/{job_id}", page),
        Route("/web/{path:path}", asset),
    ]


def _assets(folder: Path) -> Iterator[tuple[str, _Asset]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES:
            yield path.relative_to(folder).as_posix(), _Asset.load(path)
