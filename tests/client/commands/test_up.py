from __future__ import annotations

from pathlib import Path

import pytest

from client.commands.up import DEFAULT_BUS, data_home, find_bus, is_listening
from compose import servers


def test_where_data_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert data_home() == Path("/somewhere/stenobus")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/anna")
    assert data_home() == Path("/home/anna/.local/share/stenobus")


async def test_the_bus_of_a_system_that_runs_here_is_found(tmp_path: Path, closed_port: int) -> None:
    system, stopped = tmp_path / "system", tmp_path / "stopped"
    for folder in (system, stopped):
        (folder / "logs").mkdir(parents=True)
    old = f"[1] [INF] Listening for client connections on 127.0.0.1:{closed_port}\n"
    (stopped / "logs" / "nats-server.log").write_text(old)
    (system / "logs" / "nats-server.log").write_text(old)
    nats = servers.nats_server(system / "nats", log=system / "logs" / "nats-server.log")  # which appends
    await nats.start()
    try:
        assert is_listening(nats.url)
        assert find_bus([tmp_path / "none", stopped, system]) == nats.url
    finally:
        await nats.kill()
    assert not is_listening(nats.url)
    assert find_bus([tmp_path / "none", stopped, system]) == DEFAULT_BUS
