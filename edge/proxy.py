"""What a reverse proxy in front of the edge says of a request: who sent it, and at which address and path."""

from __future__ import annotations

import re
from ipaddress import ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from edge.rest.problem import Problem

OWN = frozenset({"api", "asyncapi.json", "docs", "healthz", "jobs", "openapi.json", "readyz", "web", "ws"})
"""First segments of the edge's own paths. A prefix may not begin with one: a proxy may leave the prefix in the path or
remove it, and which of the two it did must be seen from the path."""

_SEGMENT = re.compile(r"[\w.~-]+", re.ASCII)
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[\da-f:.]+\](:\d+)?", re.ASCII | re.IGNORECASE)


def read_prefix(text: str) -> str:
    """A path prefix without a slash at its end, `""` for none; raises ValueError that says what is accepted.

    Several with commas between them are joined: each proxy of a chain appends its own.
    """
    prefix = "".join(read_path(part.strip()) for part in text.split(","))
    first = prefix.split("/")[1:2]
    if OWN & set(first):
        raise ValueError(f"a prefix must not begin with a path of the server's own, /{first[0]}")
    return prefix


def read_path(text: str) -> str:
    """A path without a slash at its end; raises ValueError that says what is accepted."""
    path = text.rstrip("/")
    first, *segments = path.split("/")
    if first or any(segment in (".", "..") or not _SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("a path such as /steno is accepted, of ASCII letters, digits and ._~- between slashes")
    return path


def read_addresses(text: str) -> str:
    """Addresses and networks with commas between them, or `*`; raises ValueError for anything else."""
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    if addresses != ["*"]:
        for address in addresses:
            try:
                ip_network(address)
            except ValueError as exc:
                accepted = "IP addresses and networks with commas between them, or * for all"
                raise ValueError(f"{address!r} is neither an address nor a network; accepted are {accepted}") from exc
    return ",".join(addresses)


class ForwardedHeaders(ProxyHeadersMiddleware):
    """Follows `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` of trusted proxies, and ignores those of others.

    root_path: the prefix of requests that have no `X-Forwarded-Prefix`. The proxy may have removed the prefix from the
    path or not; behind this, the path has it, as ASGI asks.
    """

    def __init__(self, app: ASGIApp, *, trusted: str, root_path: str) -> None:
        super().__init__(app, trusted)  # type: ignore[arg-type]  # Starlette and uvicorn each have types of their own
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        """Serve one request or WebSocket."""
        client = scope.get("client")
        try:
            if client is not None and client[0] in self.trusted_hosts:
                scope = _forwarded(scope, self._root_path)
            else:
                scope = _below(scope, self._root_path)
        except Problem as problem:
            await problem.refuse(scope, receive, send)
            return
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]


def _forwarded(scope: Scope, root_path: str) -> Scope:
    """The scope with prefix and host as the headers say; raises Problem 400 for one that cannot be read."""
    headers = Headers(scope=scope)
    prefixes, hosts = headers.getlist("x-forwarded-prefix"), headers.get("x-forwarded-host")
    if prefixes:
        try:
            root_path = read_prefix(",".join(prefixes))
        except ValueError as exc:
            raise Problem(400, f"X-Forwarded-Prefix: {', '.join(prefixes)!r}: {exc}") from exc
    if hosts is not None:
        host = hosts.partition(",")[0].strip()  # of a chain of proxies, the one that the client used
        if not _HOST.fullmatch(host):
            raise Problem(400, f"X-Forwarded-Host: {host!r}: a host is accepted, and a port, such as example.org:8443")
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope = {**scope, "headers": [(b"host", host.encode()), *others]}
    return _below(scope, root_path)


def _below(scope: Scope, root_path: str) -> Scope:
    """The scope with its path below `root_path`."""
    path = scope["path"]
    if not root_path or path == root_path or path.startswith(f"{root_path}/"):
        return {**scope, "root_path": root_path}
    raw_path = root_path.encode() + scope.get("raw_path", path.encode())
    return {**scope, "root_path": root_path, "path": root_path + path, "raw_path": raw_path}
