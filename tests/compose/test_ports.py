from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

from compose.ports import free_port, refused

ASK = "from compose.ports import free_port; print(*(free_port() for _ in range(150)), flush=True); input()"


def test_no_port_is_given_twice_while_who_asked_still_runs() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    asking = [
        subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        for _ in range(2)
    ]
    given = [free_port() for _ in range(150)]
    for process in asking:
        assert process.stdout
        given += map(int, process.stdout.readline().split())
    for process in asking:
        process.communicate("")
    assert len(given) == len(set(given)) == 450
    assert all(20_000 <= port < 32_000 for port in given)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        refusal = refused("127.0.0.1", sock.getsockname()[1])
    assert refusal is not None
    assert refusal.errno == errno.EADDRINUSE


def test_everywhere_is_ipv4_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        refusal = refused("::", port)
        assert refusal is not None
        assert refusal.errno == errno.EADDRINUSE
        assert refused("::1", port) is None
    assert refused("::", port) is None


@pytest.mark.parametrize("host", ["a" * 64, "x..y", "\udcff", "nowhere.invalid"])
def test_no_host_is_refused(host: str) -> None:
    assert refused(host, 8000) is not None


def test_a_foreign_address_is_refused() -> None:
    refusal = refused("192.0.2.1", 8000)  # RFC 5737: never ours
    assert refusal is not None
    assert refusal.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError, match="assign"):
        free_port("192.0.2.1")
