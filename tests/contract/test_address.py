"""Addresses in the environment: this machine, proxies, and several in one setting."""

from __future__ import annotations

import pytest

from contract.address import is_local, listed, proxy_for, without_password


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no", "ws", "wss"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"],
)
def test_this_machine(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["", "example.org", "localhost.org", "10.0.0.1", "fd00::1", "128.0.0.1", "[::1]"])
def test_other_machines(host: str) -> None:
    assert not is_local(host)


def test_several_addresses() -> None:
    assert listed(" nats://a:1, nats://b:2 ,,nats://c\n") == ["nats://a:1", "nats://b:2", "nats://c"]
    assert without_password("nats://me:p/w@a,nats://b:2/x@y") == "nats://me:p/w@a,nats://b:2/x@y"
    assert without_password("nats://me:pw@a:1,tls://token@b") == "nats://a:1,tls://b"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "http://example.org", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://example.org", "http://p:1"),
        ({"http_proxy": "p:1"}, "ws://example.org/x", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://example.org", None),
        ({"HTTPS_PROXY": "http://p:1"}, "wss://example.org", "http://p:1"),
        ({"ALL_PROXY": "socks5://p:1"}, "https://example.org", "socks5://p:1"),
        ({"ALL_PROXY": "socks5://p:1", "HTTP_PROXY": "http://q:2"}, "http://example.org", "http://q:2"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example.org"}, "http://www.example.org:8000", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "http://example.org", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "[fd00::1]"}, "http://[fd00::1]:8000", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "fd00::1, [::1"}, "http://[fd00::1]", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "[::1]"}, "http://example.org", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1:8000", None),
        ({"ALL_PROXY": "http://p:1"}, "http://localhost:8000", None),
        ({"ALL_PROXY": "junk://"}, "ws://[::1]:8000", None),
    ],
)
def test_which_proxy(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize("proxy", ["ftp://p", "socks4://p:1", "http://", "http://p:99999", "http://[::1"])
def test_what_is_no_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ValueError, match=r"^ALL_PROXY is '.*', which is no proxy: http://HOST:PORT, https"):
        proxy_for("http://example.org")


def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "ftp://me:secret@p")
    with pytest.raises(ValueError, match=r"^HTTP_PROXY is 'ftp://p', which"):
        proxy_for("http://example.org")
