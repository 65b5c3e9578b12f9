"""Which names the server goes by, and which pages of other sites may use it.

A browser sends requests to any address that it can reach, on behalf of any page. So a page of a stranger could use a
server on its reader's own machine. Either the page's own name leads there ("DNS rebinding"): then that name is in
`Host`. Or the page asks for the server's address, and may not read the answers, but can open sockets and change things:
then its address is in `Origin`. Programs other than browsers send no `Origin` and are not affected.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.rest.problem import Problem

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of answers that set none of their own: nothing in them is a page."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_NAME = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*", re.ASCII)
_READABLE = ["Content-Disposition", "ETag", "Retry-After"]


def read_hosts(text: str) -> str:
    """Host names with commas between them, `*.` for all names below one, or `*`; raises ValueError otherwise."""
    hosts = _parts(text)
    for host in hosts:
        if host != "*" and not _NAME.fullmatch(host):
            raise ValueError(
                f"{host!r} is no host name: names such as steno.example.org or *.example.org are accepted, or * for all"
            )
    return ",".join(hosts)


def read_origins(text: str) -> str:
    """Origins with commas between them, or `*`; raises ValueError for anything else."""
    origins = _parts(text)
    for origin in origins:
        if origin != "*" and _origin(origin) is None:
            raise ValueError(
                f"{origin!r} is no origin: a scheme and a host are accepted, and a port, such as "
                "https://app.example.org:8443, or * for all"
            )
    return ",".join(origins)


class KnownHosts:
    """Refuses requests for a name that is not the server's own with 421, as RFC 9110 says.

    Always accepted are IP addresses, `localhost` and names below it, this machine's name, and names without a dot: no
    stranger can let one of these lead here. hosts: as from `read_hosts`.
    """

    def __init__(self, app: ASGIApp, hosts: str) -> None:
        self._app = app
        machine = socket.gethostname().casefold()
        self._hosts = frozenset({machine, f"{machine}.local", *_parts(hosts)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] in ("http", "websocket"):
            # Only old programs send none, and no browser does.
            for host in Headers(scope=scope).getlist("host"):
                if not _is_known(_hostname(host), self._hosts):
                    detail = f"this server does not go by the name {host!r}; EDGE_HOSTS adds further names"
                    await Problem(421, detail).refuse(scope, receive, send)
                    return
        await self._app(scope, receive, send)


class KnownOrigins:
    """Lets pages of other origins read answers, open sockets and change things only if they are listed.

    origins: as from `read_origins`. Also adds headers that tell browsers to treat an answer as what it is.
    """

    def __init__(self, app: ASGIApp, origins: str) -> None:
        self._origins = frozenset(_origin(origin) or origin for origin in _parts(origins))
        self._app = app
        if self._origins:
            listed = ["*"] if "*" in self._origins else [_written(*origin) for origin in self._origins]
            self._app = CORSMiddleware(
                app, allow_origins=listed, allow_methods=["*"], allow_headers=["*"], expose_headers=_READABLE
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in _SAFE):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and not self._may_use(origin, headers.get("host", "")):
                detail = (
                    f"pages of {origin} may not use this server ({headers.get('host')}): list the origin in "
                    "EDGE_ORIGINS, or let the reverse proxy in front of it keep Host or set X-Forwarded-Host"
                )
                await Problem(403, detail).refuse(scope, receive, send)
                return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)

    def _may_use(self, origin: str, host: str) -> bool:
        asked = _origin(origin)
        if asked is not None:
            scheme, name, port = asked
            own = f"{name}:{port}" if ":" not in name else f"[{name}]:{port}"
            # A proxy that ends TLS may not tell the scheme: without a port, `host` has the default one of the page's.
            if (host if _has_port(host) else f"{host}:{_DEFAULT_PORTS[scheme]}").casefold() == own:
                return True
        return "*" in self._origins or asked in self._origins


_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host name and port."""


def _origin(text: str) -> Origin | None:
    """None for what is no web origin, as `null`, which pages without an address send."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    is_bare = parts.hostname and not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in _DEFAULT_PORTS or not is_bare:
        return None
    return parts.scheme, str(parts.hostname), _DEFAULT_PORTS[parts.scheme] if port is None else port


def _written(scheme: str, name: str, port: int) -> str:
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1


def _hostname(host: str) -> str:
    name = host.rpartition(":")[0] if _has_port(host) else host
    return name.strip("[]").rstrip(".").casefold()


def _is_known(name: str, hosts: Collection[str]) -> bool:
    try:
        ip_address(name)
    except ValueError:
        pass
    else:
        return True
    if "." not in name or name.endswith(".localhost") or name in hosts or "*" in hosts:
        return True
    return any(name.endswith(host[1:]) for host in hosts if host.startswith("*."))


def _parts(text: str) -> list[str]:
    return [part.strip().casefold() for part in text.split(",") if part.strip()]
