"""Where a webhook may go. Its URL comes from a client and must not give access to our own network. Pure.

The edge checks what the URL itself tells when a job is created; the webhook processor checks each address to which its
host name resolves when it delivers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from contract.message import ContractError

Network = IPv4Network | IPv6Network

PORTS = frozenset({80, 443, 8443})
"""To which webhooks go unless a setting says otherwise."""

METADATA: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: AWS, Azure, Google Cloud, Oracle and others, at 169.254.169.254
        "168.63.129.16/32",  # Azure's platform, a public address that answers inside its machines
        "192.0.0.192/32",  # Oracle Cloud
        "100.100.100.200/32",  # Alibaba Cloud
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google Cloud
    )
)
"""Where clouds tell their machines secrets. Refused even where private addresses are allowed."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The part of IPv6 that IANA allocates to the public network."""

_EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
"""The last 32 bits are an IPv4 address: RFC 6052, and the deprecated form of RFC 4291, section 2.5.5.1."""

_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
"""A host whose last part is so is an address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""


@dataclass(frozen=True)
class Targets:
    """Which receivers are accepted. ports: None is all; own: networks that are refused besides `METADATA`."""

    allow_private: bool = False
    ports: frozenset[int] | None = PORTS
    own: tuple[Network, ...] = ()

    def check_url(self, text: str) -> None:
        """Raise ContractError for a URL that cannot be accepted, whatever its host name resolves to."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise ContractError(f"it is not a URL: {exc}") from exc
        if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\\x00-\x1f\x7f]", text):
            raise ContractError("it is not a URL: http://HOST or https://HOST is accepted")
        self.check_port(port, parts.scheme)
        name = host.rstrip(".").lower()
        if (name == "localhost" or name.endswith(".localhost")) and not self.allow_private:
            raise ContractError(f"{host} is not on the public network (WEBHOOK_ALLOW_PRIVATE=true allows it)")
        try:
            ip_address(host)
        except ValueError:
            if ":" in host or _NUMERIC.fullmatch(name.rpartition(".")[2]):
                raise ContractError(f"{host[:100]!r} is not an address: four decimal numbers are accepted") from None
            return
        self.check_address(host)

    def check_port(self, port: int | None, scheme: str) -> None:
        """Raise ContractError for a port to which webhooks do not go. None: that of the scheme."""
        port = {"http": 80, "https": 443}.get(scheme, 0) if port is None else port
        if self.ports is not None and port not in self.ports:
            accepted = ", ".join(map(str, sorted(self.ports)))
            raise ContractError(f"port {port} is not accepted; accepted are {accepted} (WEBHOOK_PORTS)")

    def check_address(self, address: str) -> None:
        """Raise ContractError for an IP address to which webhooks do not go."""
        ip = ip_address(address)
        forms = {ip, _inner(ip)}
        if any(form in network for form in forms for network in (*METADATA, *self.own)):
            raise ContractError(f"{address} is an address that is always refused: of a cloud's metadata, or our own")
        if not self.allow_private and not is_public(address):
            raise ContractError(
                f"{address}: an address that is not public is refused (WEBHOOK_ALLOW_PRIVATE=true allows it)"
            )


def is_public(address: str) -> bool:
    """Whether it is an address of the public internet. Of an IPv4 address inside an IPv6 one, the former counts."""
    ip = ip_address(address)
    inner = _inner(ip)
    if isinstance(inner, IPv6Address):
        return inner.is_global and inner in _GLOBAL_UNICAST
    return inner.is_global and not inner.is_multicast and not (isinstance(ip, IPv6Address) and ip in _EMBEDDING[1])


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if any(ip in network for network in _EMBEDDING):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def read_ports(text: str) -> frozenset[int] | None:
    """Read the ports of a setting, with commas between; `*`: all, which is None. Raises ValueError."""
    if text.strip() == "*":
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(name.isascii() and name.isdigit() and len(name) <= 5 and 0 < int(name) < 65_536 for name in names):
        raise ValueError(f"{text!r} is not a list of ports; accepted are numbers with commas between, or *")
    return frozenset(map(int, names))


def read_networks(text: str) -> tuple[Network, ...]:
    """Read the addresses and networks of a setting, with commas between. Raises ValueError."""
    return tuple(ip_network(name.strip()) for name in text.split(",") if name.strip())
