from __future__ import annotations

import sys
from pathlib import Path

import pytest

from client.commands.doctor import services
from client.commands.doctor.report import Verdict
from tests.client.server import ScriptedServer
from tests.edge.conftest import Edge
from tests.ollama_server import OllamaServer, serving


async def test_a_server_that_misses_its_workers(edge: Edge) -> None:
    checks = await services.server(edge.url, needed=True)
    assert {check.name for check in checks} == {"server: vad", "server: stt", "server: summary"}
    assert {check.verdict for check in checks} == {Verdict.FAIL}
    assert checks[0].found == f"{edge.url}: no worker answers"


def test_a_server_that_is_ready() -> None:
    (check,) = services.ready("http://x", {"bus": "ok", "store": "ok"})
    assert (check.verdict, check.found) == (Verdict.OK, "http://x is ready: bus, store")


async def test_another_kind_of_server(server: ScriptedServer) -> None:
    (check,) = await services.server(server.url, needed=False)
    assert (check.verdict, check.found) == (
        Verdict.FAIL,
        f"{server.url} answers, but not like a Stenobus server",
    )


@pytest.mark.parametrize(("needed", "verdict"), [(True, Verdict.FAIL), (False, Verdict.WARN)])
async def test_no_server(closed_port: int, needed: bool, verdict: Verdict) -> None:
    (check,) = await services.server(f"http://127.0.0.1:{closed_port}", needed=needed)
    assert check.verdict is verdict
    assert check.found.endswith("connection refused")
    assert "stenobus up" in check.fix or needed


async def test_the_bus(nats_url: str, closed_port: int) -> None:
    assert services.bus(nats_url).verdict is Verdict.OK
    check = services.bus(f"nats://127.0.0.1:{closed_port}")
    assert (check.verdict, check.found) == (Verdict.WARN, f"nobody listens at nats://127.0.0.1:{closed_port}")
    check = services.bus(f"nats://me:secret@127.0.0.1:{closed_port},{nats_url}")
    assert (check.verdict, check.found) == (Verdict.OK, f"nats://127.0.0.1:{closed_port},{nats_url} can be reached")
    check = services.bus("nats://here:port")
    assert check.verdict is Verdict.WARN
    assert check.found.startswith("nats://here:port is no address: ")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://ollama.example.org/", "https://ollama.example.org:443"),
        ("http://[::1]:9/sub", "http://[::1]:9/sub"),
    ],
)
def test_where_ollama_is(host: str, url: str) -> None:
    assert services.ollama_url(host) == url


@pytest.mark.parametrize(
    ("model", "there"),
    [("gemma3", True), ("gemma3:latest", True), ("gemma3:4b", False), ("hf.co/x/y:q4", True), ("hf.co/x/z", False)],
)
def test_models_of_ollama(model: str, there: bool) -> None:
    assert services.has_model(["gemma3:latest", "hf.co/x/y:q4"], model) is there


@pytest.mark.parametrize("host", ["http://[::1", "box:99999", "http://\udcff"])
async def test_where_ollama_cannot_be(host: str) -> None:
    check = await services.ollama(host, "gemma3")
    assert check.verdict is Verdict.WARN
    assert check.found.startswith(f"OLLAMA_HOST={host} is no address: ")


async def test_ollama_and_its_models() -> None:
    async with serving(OllamaServer()) as server:
        check = await services.ollama(server.url, "gemma3")
        assert (check.verdict, check.found) == (Verdict.OK, f"{server.url} has gemma3")
        check = await services.ollama(server.url, "llama4")
    assert (check.verdict, check.fix) == (Verdict.WARN, "ollama pull llama4")


async def test_no_ollama(closed_port: int) -> None:
    check = await services.ollama(f"127.0.0.1:{closed_port}", "gemma3")
    assert (check.verdict, check.found) == (
        Verdict.WARN,
        f"cannot reach http://127.0.0.1:{closed_port}: connection refused",
    )
    assert "https://ollama.com" in check.fix


async def test_another_server_in_place_of_ollama(server: ScriptedServer) -> None:
    check = await services.ollama(server.url, "gemma3")
    assert (check.verdict, check.fix) == (Verdict.WARN, "set OLLAMA_HOST")


def test_a_missing_microphone_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sounddevice.py").write_text("raise ModuleNotFoundError")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    check = services.microphone()
    assert (check.verdict, check.fix) == (Verdict.WARN, "pip install 'stenobus[mic]'")
