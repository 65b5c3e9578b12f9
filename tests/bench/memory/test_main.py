from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.memory.__main__ import main


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_all_contenders_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png = tmp_path / "memory.png"
    assert main(["--connections", "20", "--settle", "0.3", "--full", "1", "--plot", str(png)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    for contender in ("", "_naive", "_inprocess"):
        assert 1 < found[f"idle_kb{contender}"] < 500
    assert found["stalled_kb"] > 1
    assert found["stalled_kb_naive"] is None
    assert found["stalled_kb_inprocess"] is None
    assert found["connections"] == 20
    assert any(line.endswith("a full stream ended 40 connections") for line in lines)
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--connections", "0"], "'0' is not a number from 1 to 5000"),
        (["--full", "0"], "'0' is not a number from 1 to 600"),
        (["--settle", "long"], "'long' is not a number from 0 to 60"),
    ],
)
def test_a_bad_argument_is_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/none"]) == 1
    assert capsys.readouterr().err.startswith("memory: STT_MODEL='/none': there is no such folder")
