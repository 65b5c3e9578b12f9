"""The demo when something fails, with small programs in place of compose and the client."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from tools import demo

COMPOSE = """
import os, pathlib, sys, time
data = pathlib.Path(sys.argv[sys.argv.index("--data") + 1])
(data / "logs" / "edge.log").write_text("line\\n" * 20 + os.environ["STT_MODEL"])
pathlib.Path("pid").write_text(str(os.getpid()))
print("ready http://127.0.0.1:1", flush=True)
time.sleep(600)
"""
BROKEN = "import sys; sys.exit('compose: no nats-server')"
CLIENT = "import pathlib, sys; pathlib.Path('arguments').write_text(' '.join(sys.argv[1:])); sys.exit({status})"


def system(root: Path, monkeypatch: pytest.MonkeyPatch, *, compose: str = COMPOSE, status: int = 0) -> None:
    for name, source in {"compose": compose, "client": CLIENT.format(status=status)}.items():
        (root / name).mkdir()
        (root / name / "__init__.py").touch()
        (root / name / "__main__.py").write_text(source)
    for name in ("MODEL", "SAMPLE"):
        (root / name).touch()
        monkeypatch.setattr(demo, name, root / name)
    monkeypatch.setattr(demo, "ROOT", root)


def has_ended(root: Path) -> bool:
    return not psutil.pid_exists(int((root / "pid").read_text()))


async def test_everything_is_stopped_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    system(tmp_path, monkeypatch)
    await demo.demo()
    assert has_ended(tmp_path)
    assert (tmp_path / "arguments").read_text() == f"stream {tmp_path}/SAMPLE --server http://127.0.0.1:1"
    assert "demo: ready at http://127.0.0.1:1 after" in capfd.readouterr().out


async def test_a_client_that_fails_shows_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system(tmp_path, monkeypatch, status=3)
    with pytest.raises(demo.DemoError, match="the client ended with status 3") as caught:
        await demo.demo()
    assert str(caught.value).splitlines()[1:] == [
        "--- compose.log",
        "--- edge.log",
        *["line"] * 14,
        f"{tmp_path}/MODEL",
    ]
    assert has_ended(tmp_path)


async def test_a_system_that_does_not_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system(tmp_path, monkeypatch, compose=BROKEN)
    with pytest.raises(demo.DemoError, match=r"it ended without a message\n--- compose\.log\ncompose: no nats-server"):
        await demo.demo()


def test_a_missing_sample_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system(tmp_path, monkeypatch)
    (tmp_path / "SAMPLE").unlink()
    assert demo.main() == 1
    assert capsys.readouterr().err == "demo: SAMPLE is missing\n"


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.usefixtures("whisper_base", "people")
def test_a_stock_model_understands_a_reader(capfd: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--model", "base"]) == 0
    found = re.search(r"demo: (\d+) of 119 words are right, (\d+) too many", capfd.readouterr().out)
    assert found is not None
    assert int(found[1]) - int(found[2]) > 110
