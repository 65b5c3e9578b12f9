"""The settings of the edge."""

from __future__ import annotations

import pytest

from bus.run import StartError, load
from edge.services import Settings


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "70000", "less than or equal to 65535"),
        ("PORT", "", "a valid integer"),
        ("CAPTURE_URL", "https://example.org", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://example.org/a?b", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://example.org/a b", "a path such as /steno is accepted"),
        ("ROOT_PATH", "steno", "a path such as /steno is accepted"),
        ("ROOT_PATH", "/api", "a prefix must not begin with a path of the server's own, /api"),
        ("TRUSTED_PROXIES", "127.0.0.1,gateway", "'gateway' is neither an address nor a network; accepted are IP"),
        ("CAPTURE_URL", "wss://me@example.org", "ws:// or wss:// and a host are accepted"),
        ("CAPTURE_URL", "wss://example.org:70000", "Port out of range"),
        ("REUSE_PORT", "often", "a valid boolean"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"EDGE_{name}", value)
    with pytest.raises(StartError) as told:
        load(Settings)
    assert str(told.value).startswith(f"EDGE_{name}={value!r}: ")
    assert says in str(told.value)


def test_a_shared_port_must_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_PORT", "0")
    monkeypatch.setenv("EDGE_REUSE_PORT", "1")
    with pytest.raises(StartError, match=r"EDGE_REUSE_PORT='1': .*each process would take another port for 0"):
        load(Settings)


def test_the_name_that_uvicorn_has_for_trusted_proxies_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1, ::1")
    assert load(Settings).trusted_proxies == "192.0.2.1,::1"
