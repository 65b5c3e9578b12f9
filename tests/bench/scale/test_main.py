from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.scale.__main__ import main

pytestmark = pytest.mark.timeout(240)


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], dict[str, Any]]:
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


@pytest.mark.slow
def test_the_live_path_is_measured_at_each_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png = tmp_path / "scale.png"
    small = ["--levels", "2,4", "--rounds", "1", "--ramp", "0", "--window", "4"]
    assert main(["--only", "live", *small, "--plot", str(png)]) == 0
    lines, found = last_line(capsys)
    two, four = found["levels"]
    assert (two["streams"], four["streams"], found["reference_streams"]) == (2, 4, 4)
    for level in (two, four):
        assert all(f"! {level['streams']} streams: {text}" in lines for text in level["complaints"])
        assert all(level[f"{group}_us"] > 0 for group in ("edge", "nats", "vad"))
        assert level["sum_us"] == pytest.approx(sum(level[f"{group}_us"] for group in ("edge", "nats", "vad")), abs=0.2)
        assert 0 < level["ack_p50_ms"] <= level["ack_p99_ms"]
    assert 0 < four["lag_p50_ms"] <= four["lag_p99_ms"]
    assert found["cost_4_over_2"] == pytest.approx(four["sum_us"] / two["sum_us"], abs=0.01)
    assert found["vad_streams_per_core"] == pytest.approx(1e6 / four["vad_us"], rel=0.01)
    assert [line.split()[0] for line in lines if line.strip().startswith(("2 ", "4 "))] == ["2", "4"]
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_the_whole_system_is_measured_beside_a_server_without_a_bus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--most-streams", "2", "--rounds", "1", "--ramp", "0", "--system-window", "6", "--bound", "30"]
    assert main(["--only", "system", *small, "--plot", str(tmp_path / "scale.png")]) == 0
    lines, found = last_line(capsys)
    assert (found["streams_p95_30s"], found["streams_p95_30s_inprocess"], found["streams_ratio"]) == (2, 2, 1)
    assert {probe["contender"] for probe in found["system"]} == {"stenobus", "inprocess"}
    for probe in found["system"]:
        assert probe["complaint"] == ""
        assert probe["finals"] > 0
        assert 570 <= probe["p50_ms"] <= probe["p95_ms"]  # the hangover is in it, less the last frame
    assert sum("2 streams at p95 <= 30 s, as many as were tried" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--levels", "0,2"], "'0' is not a number from 1 to 4096"),
        (["--rounds", "0"], "'0' is not a number from 1 to 20"),
        (["--only", "edge"], "invalid choice: 'edge'"),
        (["--window", "soon"], "'soon' is not a number from 1 to 600"),
    ],
)
def test_a_bad_argument_is_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/none"]) == 1
    assert capsys.readouterr().err.startswith("scale: STT_MODEL='/none': there is no such folder")
