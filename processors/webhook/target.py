"""Where a webhook may go. Its URL comes from a client and must not give access to our own network.

The addresses of the host are looked up once and checked, and the connection goes to one of these very addresses: a name
that resolves to another address a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import socket

import httpx

from contract import ContractError
from contract.webhook import Targets


def parse(text: str) -> httpx.URL:
    """Read a URL; raises ContractError for one that names no host."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as exc:
        raise ContractError(f"webhook_url is not a URL: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ContractError("webhook_url is not a URL: http://HOST or https://HOST is accepted")
    return url


def origin(url: httpx.URL) -> str:
    """Scheme, host and port, which may be logged; the rest of the URL may be secret."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


async def addresses(url: httpx.URL, targets: Targets) -> list[str]:
    """IP addresses to connect to, in order of preference.

    Raises ContractError if one of them, or the port, is not among the targets, OSError if the look-up fails.
    """
    host = url.raw_host.decode("ascii")
    try:
        targets.check_port(url.port, url.scheme)
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        resolved = list(dict.fromkeys(str(address[0]) for *_, address in found))
        for address in resolved:
            targets.check_address(address)
    except UnicodeError as exc:
        raise ContractError(f"webhook_url is not a URL: {host!r} is not a host name") from exc
    except ContractError as exc:
        raise ContractError(f"webhook_url names {host}: {exc}") from exc
    return resolved
