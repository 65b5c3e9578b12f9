from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from bench.stt.__main__ import main
from processors.stt.whisper.backend import gpus

pytestmark = pytest.mark.timeout(300)


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], dict[str, Any]]:
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


@pytest.mark.slow
def test_the_comparison_tells_what_others_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png = tmp_path / "plots" / "stt.png"
    assert main(["--quick", "--device", "cpu", "--plot", str(png)]) == 0
    lines, found = last_line(capsys)
    assert {"streams", "baseline_streams", "streams_ratio", "single_latency_ratio"} <= found.keys()
    assert 0 <= found["streams"] <= 2
    assert 0 <= found["baseline_streams"] <= 2
    ours, baseline = found["single_p50_ms"]["ours"], found["single_p50_ms"]["one_at_a_time"]
    assert found["single_latency_ratio"] == pytest.approx(ours / baseline, rel=0.01)
    assert (found["device"], found["compute_type"], found["beam_size"], found["bound_s"]) == ("cpu", "int8", 1, 1.0)
    for title in ("Stenobus", "WhisperModel, one at a time", "BatchedInferencePipeline"):
        assert len([line for line in lines if line.strip().startswith(("1  " + title, "2  " + title))]) == 2
    assert f"duty cycle {found['duty_cycle']:.0%}" in "\n".join(lines)
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png.read_bytes()[16:24]) == (1200, 750)


@pytest.mark.slow
def test_the_whole_system_is_measured_from_the_end_of_speech(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--system", "--device", "cpu"]) == 0
    _, found = last_line(capsys)
    (point,) = found["system"]
    assert point["streams"] == 2
    assert 0 < point["finals"] <= point["sentences"]
    assert point["p50_ms"] >= 600 - 30  # the hangover is in it, less the last frame
    assert point["p50_ms"] <= point["p95_ms"] <= point["max_ms"]
    assert found["held"] in (0, 2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--streams", "0,2"], "'0' is not a number from 1 to 4096"),
        (["--streams", "a"], "'a' is not a number from 1 to 4096"),
        (["--bound", "0"], "'0' is not a number from 0.01 to 60"),
        (["--beam-size", "11"], "'11' is not a number from 1 to 10"),
        (["--seconds", "soon"], "'soon' is not a number from 1 to 3600"),
        (["--model-shape", "huge"], "invalid choice: 'huge'"),
        (["--levers", "--system"], "not allowed with argument"),
        (["--model", "x", "--model-shape", "tiny"], "not allowed with argument"),
    ],
)
def test_a_bad_argument_is_named(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/none", "--device", "cpu"]) == 1
    assert "STT_MODEL='/none': there is no such folder" in capsys.readouterr().err


def test_a_type_that_the_device_does_not_have_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--compute-type", "int3", "--device", "cpu"]) == 1
    assert "'int3': not supported by cpu" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    if gpus():
        pytest.skip("there is one")
    assert main(["--device", "cuda", "--model-shape", "large-v3-turbo"]) == 1
    assert capsys.readouterr().err == "stt: --device cuda: there is no usable CUDA device here; accepted: auto, cpu\n"
