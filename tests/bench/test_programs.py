"""Each benchmark as a whole, small: it comes to its end, and its last line has figures that can be true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from audio import write_flac
from bench.edge.__main__ import main as edge
from bench.gpu.__main__ import PARTS
from bench.gpu.__main__ import main as gpu
from bench.latency.__main__ import main as latency
from bench.memory.__main__ import main as memory
from bench.scale.__main__ import main as scale
from bench.sessions.__main__ import main as sessions
from bench.soak.__main__ import main as soak
from bench.speech import load_sentences
from bench.stt.__main__ import main as stt
from bench.stt.contenders import TITLES
from bench.words.__main__ import main as words
from contract import RATE, WIDTH
from tools.system import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Main = Callable[[list[str]], int]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a benchmark to its end; gives its last line."""

    def run(main: Main, *arguments: str, picture: bool = True) -> dict[str, Any]:
        path = tmp_path / "plots" / "picture.png"
        assert main([*arguments, *(["--plot", str(path)] if picture else [])]) == 0
        assert not picture or path.read_bytes().startswith(b"\x89PNG")
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    return run


def test_edge(run: Run) -> None:
    found = run(edge, "--streams", "5", "--rounds", "1", "--seconds", "2")
    for contender in ("", "_naive", "_system"):
        assert found[f"edge_us{contender}"] > 0
        assert 0 < found[f"ack_p50_ms{contender}"] <= found[f"ack_p99_ms{contender}"]
    assert found["vad_streams_per_core"] > 0
    assert not [doubt for doubt in found["doubts"] if "never acked" in doubt or "closed" in doubt]


def test_sessions(run: Run) -> None:
    found = run(sessions, "--concurrency", "3", "--rounds", "1", "--seconds", "2")
    assert found["doubts"] == []
    assert all(found[f"sessions_per_s{contender}"] > 0 for contender in ("", "_inprocess", "_naive"))


def test_scale(run: Run) -> None:
    live = ["--levels", "2,4", "--rounds", "1", "--ramp", "0", "--window", "4"]
    system = ["--most-streams", "2", "--system-window", "6", "--bound", "60"]
    found = run(scale, *live, *system)
    assert [level["streams"] for level in found["levels"]] == [2, 4]
    assert all(level[f"{group}_us"] > 0 for level in found["levels"] for group in ("edge", "nats", "vad"))
    assert (found["streams_p95_60s"], found["streams_p95_60s_inprocess"]) == (2, 2)
    for probe in found["system"]:
        assert (probe["complaint"], probe["finals"] > 0) == ("", True)
        assert 570 <= probe["p50_ms"] <= probe["p95_ms"], "the hangover is in it, less the last frame"


@pytest.mark.parametrize("options", [[], ["--no-partials", "--whole-windows"]])
def test_latency(run: Run, options: list[str], tmp_path: Path) -> None:
    sentence = next(one for one in load_sentences(ROOT / "samples") if one.text == "We need two more testers.")
    sample = tmp_path / "sample.flac"
    write_flac(sample, sentence.pcm + bytes(3 * RATE * WIDTH // 2))
    found = run(latency, "--repeat", "1", "--sample", str(sample), *options)
    assert (found["segments"], found["left_out"]) == (1, 0)
    for server in ("", "inprocess_"):
        hangover = found[f"{server}speech_end_to_final_p50_ms"] - found[f"{server}decision_to_final_p50_ms"]
        assert hangover > 500
        assert found[f"{server}decision_to_final_p50_ms"] > 0


@pytest.mark.real
def test_latency_of_real_people(run: Run) -> None:
    found = run(latency, "--model", "base", "--streams", "1,2", "--seconds", "14", picture=False)
    assert [level["streams"] for level in found["live"]] == [1, 2]
    for level in found["live"]:
        assert (level["finals"] >= 2, level["missed"]) == (True, 0)
        assert level["final_p50_ms"] > 500, "the hangover is in it"
        assert sum(level["share"].values()) == pytest.approx(1, abs=0.01)
        assert level["wer"] < 25


def test_memory(run: Run) -> None:
    found = run(memory, "--connections", "20", "--settle", "0.3", "--full", "1")
    assert all(1 < found[f"idle_kb{contender}"] < 500 for contender in ("", "_naive", "_inprocess"))
    assert found["stalled_kb"] > 1


def test_soak(run: Run) -> None:
    arguments = ["--streams", "10", "--minutes", "0.15", "--meeting", "1", "3", "--every", "0.5"]
    found = run(soak, *arguments, picture=False)
    assert found["meetings"] > 20
    assert found["samples_sent"] == found["samples_acked"] == found["samples_stored"] > 10 * RATE
    assert (found["jobs_with_losses"], found["errors"]) == (0, {})
    assert found["memory_mb"].keys() == {"edge", "nats", "redis", "vad"}


def test_gpu_in_its_short_form(run: Run) -> None:
    found = run(gpu, "--device", "cpu", picture=False)
    assert found["failed"] == {}
    assert found.keys() >= {part.name for part in PARTS}
    texts = found["texts"]
    assert (texts["as_on_cpu"], texts["utterances"], texts["flips_2"], texts["moved_2"]) == (4, 4, 0, 0.0)
    for model in ("large", "speech"):
        assert found["calls"][model].keys() == {"1", "2"}
        assert all(milliseconds > 0 for one in found["calls"][model].values() for milliseconds in one.values())
    for level in [*found["memory"]["levels"], found["memory"]["after"]]:
        assert (level["errors"], level["without_text"], level["other_text"]) == ({}, 0, 0)
    assert all(found[part]["round_1"] > 0 for part in ("one_worker", "two_workers", "caching_allocator"))
    assert found["live"]["levels"][0]["streams"] == 1


def test_gpu_stops_by_itself(run: Run) -> None:
    began = monotonic()
    assert gpu(["--device", "cpu", "--minutes", "0.1"]) == 1
    assert monotonic() - began < 120


def test_stt(run: Run) -> None:
    found = run(stt, "--quick", "--device", "cpu", "--bound", "60")
    assert found["held"] == dict.fromkeys(TITLES, 2), "as many as were tried"
    assert (found["streams_ratio"], found["wer_points"]) == (1.0, 0.0)
    assert all(found["single_p50_ms"][kind] > 0 for kind in TITLES)


@pytest.mark.real
def test_words(run: Run) -> None:
    found = run(words, "--only", "beckett,common_voice_ja_24511055", "--sounds", "2", picture=False)
    assert found.items() >= {"wer_live": 0, "wer_fast": 0, "wer_offline": 0, "gap_points": 0, "gap_people": 0}.items()
    assert found["words_on_nonspeech"] == 0


@pytest.mark.real
def test_stt_with_real_people(run: Run) -> None:
    found = run(stt, "--quick", "--model", "base", "--device", "cpu", "--bound", "60")
    assert found["held"] == dict.fromkeys(TITLES, 2)
    assert all(rate < 15 for rate in found["wer"].values())


@pytest.mark.parametrize("main", [gpu, memory, scale, sessions, stt])
def test_a_missing_model_is_named_before_anything_is_measured(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/none"]) == 1
    assert "STT_MODEL='/none': there is no such folder" in capsys.readouterr().err
