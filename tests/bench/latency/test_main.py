from __future__ import annotations

import json
from pathlib import Path

import pytest

from audio import write_flac
from bench.latency.__main__ import main
from bench.speech import load_sentences
from contract import RATE, WIDTH
from tools.system import ROOT


@pytest.mark.timeout(240)
@pytest.mark.parametrize("options", [[], ["--no-partials", "--whole-windows"]])
@pytest.mark.slow
def test_ours_is_measured_beside_a_server_without_a_bus(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = next(one for one in load_sentences(ROOT / "samples") if one.text == "We need two more testers.")
    sample, png = tmp_path / "sample.flac", tmp_path / "latency.png"
    write_flac(sample, sentence.pcm + bytes(3 * RATE * WIDTH // 2))
    assert main(["--repeat", "1", "--sample", str(sample), "--plot", str(png), *options]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert (found["segments"], found["left_out"]) == (1, 0)
    assert (found["partials"], found["whole_windows"]) == (not options, bool(options))
    for server in ("", "inprocess_"):
        assert found[f"{server}decision_to_final_p50_ms"] > 0
        # What lies between the two, to the frames that carry them.
        hangover = found[f"{server}speech_end_to_final_p50_ms"] - found[f"{server}decision_to_final_p50_ms"]
        assert hangover > 500
    ratio = found["decision_to_final_p50_ms"] / found["inprocess_decision_to_final_p50_ms"]
    assert found["ratio_to_inprocess"] == pytest.approx(ratio, abs=0.01)
    assert found["ratio_to_inference_alone"] > 0
    assert "1 segments that 600 ms of silence ended; left out, ended otherwise: 0" in lines
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("runs", ["0", "-1", "two", "1.5"])
def test_a_bad_number_of_runs_is_named(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--repeat={runs}"])
    assert f"{runs!r} is not a number from 1 to 1000" in capsys.readouterr().err


def test_a_sample_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sample", str(tmp_path / "none.flac")]) == 1
    assert "none.flac: no such file" in capsys.readouterr().err
