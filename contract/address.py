"""Addresses that settings and the environment give, as all parts of the system read them."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_PROXIES = ("http", "https", "socks5", "socks5h")


def listed(text: str) -> list[str]:
    """The addresses of a setting that may have several, with commas or white space between."""
    return [address for address in re.split(r"[\s,]+", text) if address]


def without_password(text: str) -> str:
    """Addresses as they may be shown and logged."""
    return re.sub(r"//[^/\s,]*@", "//", text)


def is_local(host: str) -> bool:
    """Whether a host name or IP address means this machine."""
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address of HTTP or WebSocket; None: it is reached directly.

    Read as urllib does, from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, but IPv6 addresses in NO_PROXY may stand
    in brackets, and this machine is never reached by a proxy. Raises ValueError that names the variable of a proxy that
    is none.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_local(host):
        return None
    from urllib.request import getproxies, proxy_bypass  # not above: it loads slowly, and few need it

    if any(proxy_bypass(form) for form in (host, f"[{host}]", parts.netloc.rpartition("@")[2])):
        return None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    proxies = getproxies()
    kind = scheme if proxies.get(scheme) else "all"
    proxy = proxies.get(kind)
    return _checked(f"{kind.upper()}_PROXY", proxy if "://" in proxy else f"http://{proxy}") if proxy else None


def _checked(variable: str, proxy: str) -> str:
    try:
        parts = urlsplit(proxy)
        if parts.scheme in _PROXIES and parts.hostname and parts.port != 0:
            return proxy
    except ValueError:  # brackets or a port that are wrong
        pass
    accepted = ", ".join(f"{scheme}://HOST:PORT" for scheme in _PROXIES)
    raise ValueError(f"{variable} is {without_password(proxy)!r}, which is no proxy: {accepted} are accepted")
