from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.commands.doctor.machine import SERVER
from client.commands.doctor.report import Check, Verdict, fail, ok, optional, table, warn
from tests.client.inprocess import invoke
from tests.client.test_view import console, output
from tools.system import MODEL, running_system

NAMES = [
    *("python", "packages: client", "packages: mic", "microphone"),
    *(f"packages: {part}" for part in SERVER),
    *("nats-server", "redis-server", "disk", "speech model", "gpu", "ollama", "server", "bus"),
]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STT_MODEL", str(MODEL))
    monkeypatch.setenv("STT_DEVICE", "cpu")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


async def test_with_a_whole_system_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_system(tmp_path / "stenobus") as system:
        monkeypatch.setenv("STENOBUS_URL", system.url)
        code, out, err = await invoke("doctor", "--json")
        assert (code, err) == (0, "")
        found = {check["name"]: check for check in map(json.loads, out.splitlines())}
        assert list(found) == NAMES
        assert found["server"]["found"] == f"{system.url} is ready: bus, storage, store, vad, stt, summary"
        # It was found by the log in the data folder, as `stenobus tail` finds it.
        assert found["bus"] == {
            "name": "bus",
            "verdict": "ok",
            "found": f"{system.bus_url} can be reached",
            "fix": "",
        }
        assert found["ollama"]["verdict"] == "warn"


async def test_with_a_named_server_only_that_server_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STT_MODEL", "nonsense")
    code, out, err = await invoke("doctor", "--server", f"http://127.0.0.1:{closed_port}")
    assert (code, err) == (1, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert {len(row) for row in rows} == {4}
    assert [row[1] for row in rows if row[0] == "fail"] == ["server"]
    assert [row[1] for row in rows if row[0] == "warn" and row[1] == "speech model"] == ["speech model"]


async def test_a_server_here_needs_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_MODEL", "nonsense")
    monkeypatch.delenv("STENOBUS_URL", raising=False)
    code, out, _ = await invoke("doctor")
    assert code == 1
    assert "fail\tspeech model\tSTT_MODEL='nonsense'" in out


def test_a_table_says_what_helps_below_what_is_wrong() -> None:
    screen = console(60, terminal=True)
    screen.print(
        table([ok("python", "3.12"), warn("gpu", "none", "buy one"), fail("disk", "full\x1b[2J", "make room")])
    )
    assert [line.rstrip() for line in output(screen).splitlines()] == [
        "✓ python 3.12",
        "! gpu    none",
        "         → buy one",
        "✗ disk   full [2J",
        "         → make room",
    ]


def test_what_is_not_needed_does_not_fail() -> None:
    checks = [ok("a", "b"), warn("c", "d", "e"), fail("f", "g", "h")]
    assert optional(checks) == [*checks[:2], Check("f", Verdict.WARN, "g", "h")]
