from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from contract import ContractError
from contract.webhook import Targets, is_public, read_networks, read_ports
from processors.webhook import target

PUBLIC = ["93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fd00::1",
    "ff02::1",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url", ["http://", "http:///path", "http://host:port/", "http://[::1/", "http://a\nb/", "ftp://host/", "host/path"]
)
def test_what_is_not_a_url_is_refused(url: str) -> None:
    with pytest.raises(ContractError, match="webhook_url is not a URL"):
        target.parse(url)


def test_the_origin_shows_no_secrets() -> None:
    url = target.parse("https://user:password@Bücher.example:8443/hook?token=secret")
    assert target.origin(url) == "https://xn--bcher-kva.example:8443"


async def test_a_name_that_no_host_can_have_is_refused() -> None:
    for name in ("a..b", "a" * 70 + ".com"):
        with pytest.raises(ContractError, match="is not a host name"):
            await target.addresses(httpx.URL(f"http://{name}/"), Targets(allow_private=True, ports=None))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]"])
async def test_a_private_address_is_refused_in_any_notation(host: str) -> None:
    with pytest.raises(ContractError, match=r"not public is refused \(WEBHOOK_ALLOW_PRIVATE=true allows it\)"):
        await target.addresses(httpx.URL(f"http://{host}/"), Targets())


async def test_private_addresses_can_be_allowed() -> None:
    assert await target.addresses(httpx.URL("http://127.0.0.1:1/"), Targets(allow_private=True, ports=None)) == [
        "127.0.0.1"
    ]


async def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [PUBLIC[0], PUBLIC[0], PUBLIC[1]]

    def look_up(*_args: Any, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = httpx.URL("https://hooks.example/")
    assert await target.addresses(url, Targets()) == PUBLIC[:2]
    answer.append("10.0.0.1")
    with pytest.raises(ContractError, match=r"names hooks\.example: 10\.0\.0\.1"):
        await target.addresses(url, Targets())


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "192.0.0.192",
        "100.100.100.200",
        "[::ffff:168.63.129.16]",
        "[64:ff9b::a9fe:a9fe]",
        "[::169.254.169.254]",
        "[2002:a9fe:a9fe::1]",
        "[fd00:ec2::254]",
        "0xa83f8110",
        "203.0.113.7",
    ],
)
async def test_metadata_and_own_networks_are_refused_even_where_private_addresses_are_allowed(host: str) -> None:
    targets = Targets(allow_private=True, own=read_networks("203.0.113.0/24, 2001:db8::/32"))
    with pytest.raises(ContractError, match="always refused"):
        await target.addresses(httpx.URL(f"http://{host}/"), targets)


async def test_a_name_that_resolves_to_metadata_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in (PUBLIC[0], "168.63.129.16")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answer)
    Targets().check_url("https://hooks.example/")  # which looks nothing up
    with pytest.raises(ContractError, match=r"names hooks\.example: 168\.63\.129\.16 is an address that is always"):
        await target.addresses(httpx.URL("https://hooks.example/"), Targets())


async def test_other_ports_are_refused() -> None:
    for url in ("http://8.8.8.8:22/", "https://8.8.8.8:8080/", "http://8.8.8.8:0/"):
        with pytest.raises(ContractError, match="is not accepted; accepted are 80, 443, 8443"):
            Targets().check_url(url)
        with pytest.raises(ContractError, match="is not accepted; accepted are 80, 443, 8443"):
            await target.addresses(httpx.URL(url), Targets())
    more = Targets(ports=read_ports("443, 8080"))
    assert await target.addresses(httpx.URL("http://8.8.8.8:8080/"), more) == ["8.8.8.8"]
    with pytest.raises(ContractError, match="port 80 is not accepted"):
        more.check_url("http://8.8.8.8/")
    assert read_ports("*") is None
    with pytest.raises(ValueError, match="is not a list of ports"):
        read_ports("443,http")
