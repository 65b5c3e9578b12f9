from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.edge.__main__ import main, parse


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--streams", "0"], "'0' is not a number from 1 to 20000"),
        (["--rounds", "many"], "'many' is not a number from 1 to 100"),
        (["--seconds", "0.5"], "'0.5' is not a number from 1 to 3600"),
    ],
)
def test_what_cannot_be_measured_is_said(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_run_has_figures_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "edge.png"
    assert main(["--streams", "5", "--rounds", "1", "--seconds", "2", "--plot", str(picture)]) == 0
    told, progress = capsys.readouterr()
    assert [f"round 1 of 1, {name}: " in progress for name in ("naive", "ours", "system")] == [True] * 3
    found = json.loads(told.splitlines()[-1])
    assert (found["streams"], found["rounds"], found["seconds"]) == (5, 1, 2.0)
    assert 3 * 5 * 60 < found["frames"] < 3 * 5 * 100
    for tail in ("", "_naive", "_system"):
        assert found[f"edge_us{tail}"] > 0
        assert 0 < found[f"ack_p50_ms{tail}"] <= found[f"ack_p99_ms{tail}"]
    assert found["vad_streams_per_core"] == pytest.approx(1e6 / (found["vad_us"] * 1_000 / 30), rel=0.01)
    assert f"enough for {found['vad_streams_per_core']} live streams" in told
    assert not [doubt for doubt in found["doubts"] if "never acked" in doubt or "closed" in doubt]
    assert picture.exists()
