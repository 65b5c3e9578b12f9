"""How requests reach a server: directly or by a proxy, and which certificates they trust."""

from __future__ import annotations

import os
import ssl
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import httpx

from client.errors import UnreachableError
from contract.address import proxy_for

_SOCKS = {"http": ("socksio", "httpx[socks]"), "ws": ("python_socks", "python-socks[asyncio]")}
"""What speaks SOCKS for each scheme, with TLS or without: a module, and the package that brings it."""


def http_options(url: str) -> dict[str, Any]:
    """Arguments of httpx for requests to `url`. Raises UnreachableError that names the variable that is wrong."""
    # A context costs a hundredth of a second; the empty one, where it is not needed, trusts nobody.
    tls = _tls(url) if urlsplit(url).scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return {"trust_env": False, "proxy": _proxy(url), "verify": tls}


def socket_options(url: str) -> dict[str, Any]:
    """Arguments of websockets' `connect` for `url`. Raises as `http_options` does."""
    tls = {"ssl": _tls(url)} if urlsplit(url).scheme == "wss" else {}
    return {"proxy": _proxy(url), **tls}


def _proxy(url: str) -> str | None:
    try:
        proxy = proxy_for(url)
    except ValueError as exc:
        raise UnreachableError(f"cannot reach {url}: {exc}") from exc
    if proxy and proxy.startswith("socks"):
        module, package = _SOCKS["ws" if url.startswith("ws") else "http"]
        if find_spec(module) is None:
            hint = f"pip install '{package}', or name the server in NO_PROXY"
            raise UnreachableError(f"cannot reach {url}: the environment names a SOCKS proxy, which needs {hint}")
    return proxy


def _tls(url: str) -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as exc:
        certificates = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        named = [f"{name}={os.environ[name]}" for name in (certificates, "SSLKEYLOGFILE") if os.environ.get(name)]
        why = exc.reason.replace("_", " ") if isinstance(exc, ssl.SSLError) else exc.strerror or str(exc)
        raise UnreachableError(
            f"cannot reach {url}: TLS cannot be set up{' with ' if named else ''}{', '.join(named)}: {why.lower()}"
        ) from exc
