"""How requests reach a server: proxies and certificates that the environment names, also wrongly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trustme

from client.errors import UnreachableError
from client.route import http_options, socket_options
from tests.client.process import run_in
from tests.client.server import ScriptedServer


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL"):
            monkeypatch.delenv(name)


FAULTS: list[dict[str, str]] = [
    {"NO_PROXY": "[::1]"},
    {"NO_PROXY": "127.0.0.1:x,[::1,*.", "HTTP_PROXY": "http://127.0.0.1:9"},
    {"ALL_PROXY": "socks5://127.0.0.1:9"},
    {"all_proxy": "socks4://127.0.0.1:9"},
    {"HTTP_PROXY": "http://127.0.0.1:9"},
    {"http_proxy": "http://[bad"},
    {"HTTP_PROXY": "http://127.0.0.1:99999"},
    {"HTTPS_PROXY": "ftp://x"},
    {"SSL_CERT_FILE": "/proc/none"},
    {"SSL_CERT_FILE": "/etc/passwd"},
    {"SSL_CERT_DIR": "/proc/none"},
    {"SSLKEYLOGFILE": "/proc/none/log"},
    {"REQUESTS_CA_BUNDLE": "/proc/none"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(f"{key}={fault[key]}" for key in fault))
async def test_a_server_on_this_machine_is_reached_whatever_the_environment_says(
    server: ScriptedServer, flac: str, fault: dict[str, str]
) -> None:
    code, out, err = await run_in(fault, "stream", flac, "--fast", "--json", "--server", server.url)
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["type"] == "final_summary"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_other_machines_are_reached_by_the_proxy(server: ScriptedServer, variable: str) -> None:
    """The scripted server is the proxy: it gets a request for a name that nobody can look up."""
    command = ("jobs", "--server", "http://nowhere.invalid")
    code, _, err = await run_in({variable: server.url}, *command)
    assert (code, err) == (1, "stenobus: the server answered 404: Not Found\n")
    code, _, err = await run_in({variable: server.url, "NO_PROXY": "nowhere.invalid"}, *command)
    assert (code, err.startswith("stenobus: cannot reach http://nowhere.invalid: ")) == (3, True)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ALL_PROXY": "ftp://p:1"}, "ALL_PROXY is 'ftp://p:1', which is no proxy"),
        ({"SSL_CERT_FILE": "/proc/none"}, "with SSL_CERT_FILE=/proc/none: no such file or directory"),
        ({"SSL_CERT_FILE": "/etc/passwd"}, "with SSL_CERT_FILE=/etc/passwd: no certificate or crl found"),
        ({"SSLKEYLOGFILE": "/proc/none/log"}, "with SSLKEYLOGFILE=/proc/none/log: no such file or directory"),
    ],
)
def test_a_wrong_variable_is_named_where_it_matters(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnreachableError) as caught:
        http_options("https://example.org")
    assert str(caught.value).startswith("cannot reach https://example.org: ")
    assert says in str(caught.value)
    with pytest.raises(UnreachableError, match=r"cannot reach wss://example.org/x: "):
        socket_options("wss://example.org/x")


def test_a_socks_proxy_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1")
    monkeypatch.setattr("client.route.find_spec", lambda _module: None)
    with pytest.raises(UnreachableError, match=r"names a SOCKS proxy, which needs pip install 'httpx\[socks\]', or"):
        http_options("https://example.org")
    with pytest.raises(UnreachableError, match=r"which needs pip install 'python-socks\[asyncio\]', or"):
        socket_options("ws://example.org")
    monkeypatch.setattr("client.route.find_spec", lambda _module: object())
    assert socket_options("ws://example.org") == {"proxy": "socks5://p:1"}


def test_certificates_of_the_environment_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert len(http_options("https://127.0.0.1")["verify"].get_ca_certs()) == 1
    assert len(socket_options("wss://127.0.0.1")["ssl"].get_ca_certs()) == 1
    assert http_options("http://127.0.0.1")["verify"].get_ca_certs() == []
    assert socket_options("ws://127.0.0.1") == {"proxy": None}
