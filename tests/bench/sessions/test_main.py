from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.sessions.__main__ import main, parse


def test_what_cannot_be_measured_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--concurrency", "0"])
    assert "'0' is not a number from 1 to 5000" in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_run_has_figures_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "plots" / "sessions.png"
    assert main(["--concurrency", "3", "--rounds", "1", "--seconds", "2", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["doubts"] == []
    for tail in ("", "_inprocess", "_naive"):
        assert found[f"sessions_per_s{tail}"] > 0.5
        assert found[f"session_p50_ms{tail}"] > 0
    assert {f"{group}_ms" for group in ("edge", "nats", "redis", "vad")} <= found.keys()
    assert "vad_ms_naive" not in found


def test_a_model_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--concurrency", "1", "--rounds", "1", "--seconds", "1", "--model", "/nowhere"]) == 1
    assert "/nowhere" in capsys.readouterr().err
