"""Where a webhook may go. Its URL comes from a client and must not give access to our own network.

The addresses of the host are looked up once and checked, and the connection goes to one of these very addresses: a name
that resolves to another address a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from contract import ContractError

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The part of IPv6 that IANA allocates to the public network."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""


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


async def addresses(url: httpx.URL, *, allow_private: bool) -> list[str]:
    """IP addresses to connect to, in order of preference.

    Raises ContractError for a host that is not on the public network, OSError if the look-up fails.
    """
    host = url.raw_host.decode("ascii")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise ContractError(f"webhook_url is not a URL: {host!r} is not a host name") from exc
    resolved = list(dict.fromkeys(str(address[0]) for *_, address in found))
    private = [address for address in resolved if not is_public(address)]
    if private and not allow_private:
        raise ContractError(
            f"webhook_url names {host}, which is {private[0]}: an address that is not public is refused "
            "(WEBHOOK_ALLOW_PRIVATE=true allows it)"
        )
    return resolved


def is_public(address: str) -> bool:
    """Whether it is an address of the public internet. Of an IPv4 address inside an IPv6 one, the former counts."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        nat64 = IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else None
        inner = ip.ipv4_mapped or ip.sixtofour or nat64
        if inner is None:
            return ip.is_global and ip in _GLOBAL_UNICAST
        ip = inner
    return ip.is_global and not ip.is_multicast
