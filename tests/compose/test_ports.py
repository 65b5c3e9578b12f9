from __future__ import annotations

import errno
import socket

from compose.ports import free_port, refused


def test_a_free_port_is_not_refused_and_not_one_that_clients_get() -> None:
    port = free_port()
    assert refused("127.0.0.1", port) is None
    assert 20_000 <= port < 32_000


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        refusal = refused("127.0.0.1", sock.getsockname()[1])
    assert refusal is not None
    assert refusal.errno == errno.EADDRINUSE


def test_a_foreign_address_is_refused() -> None:
    refusal = refused("192.0.2.1", 8000)  # RFC 5737: never ours
    assert refusal is not None
    assert refusal.errno == errno.EADDRNOTAVAIL
