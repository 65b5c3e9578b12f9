"""The real process: start, stop, settings, and `probe`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
from huggingface_hub import constants

from bus import Bus
from bus.requests import present
from processors.stt.__main__ import print_probe
from processors.stt.whisper import cuda
from processors.stt.whisper.backend import gpus
from tests.processors.stt.sounds import MICRO, sentences
from tests.processors.stt.workers import (
    process,
    transcripts,
    utterance,
    wait_for_transcripts,
)
from tests.support import wait_until
from tools.system import MODEL


async def test_the_process_loads_its_model_is_announced_and_transcribes(
    bus: Bus, nats_url: str, tmp_path: Path
) -> None:
    log, said = tmp_path / "log", sentences("standup")[1]
    env = {"NATS_URL": nats_url, "STT_MODEL": str(MICRO), "STT_DEVICE": "cpu", "STT_THREADS": "1"}
    async with process("-m", "processors.stt", log=log, **env) as child:
        await wait_until(lambda: present(bus, "stt", 0.2), description="the worker is announced", timeout=60)
        await bus.publish(utterance(0, pcm=said.pcm))
        await wait_for_transcripts(bus, 1)
        child.terminate()
        assert await child.wait() == 0, log.read_text()
    (made,) = await transcripts(bus)
    assert (made.model, made.error, len(made.model_hash)) == ("whisper-micro", None, 16)
    assert (made.text, made.language) == (said.text, "en")
    assert made.elapsed > 0


HUB = {"STT_MODEL": "tiny", "STT_DEVICE": "cpu", "HF_HUB_OFFLINE": "1", "LOG_LEVEL": "ERROR"}


async def test_a_bad_setting_ends_the_process_with_one_line(nats_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = HUB | {"NATS_URL": nats_url, "HF_HUB_CACHE": str(tmp_path), "STT_MODEL": "models/none"}
    async with process("-m", "processors.stt", log=log, **env) as child:
        assert await child.wait() == 2
    (line,) = log.read_text().splitlines()
    assert line.startswith("stt cannot start: STT_MODEL='models/none': ")
    assert "; accepted: the path of a folder with a Whisper model in CTranslate2 format" in line


async def test_the_process_can_be_stopped_while_it_waits_for_a_download(nats_url: str, tmp_path: Path) -> None:
    asked = asyncio.Event()
    finished = asyncio.Event()

    async def never_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await finished.wait()
        writer.close()

    log = tmp_path / "log"
    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as hub:
        port = hub.sockets[0].getsockname()[1]
        env = HUB | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_CACHE": str(tmp_path)}
        async with process("-m", "processors.stt", log=log, NATS_URL=nats_url, **env) as child:
            await wait_until(asked.is_set, description="the download has begun")
            child.terminate()
            assert await child.wait() == 0, log.read_text()
        finished.set()


Probe = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Probe:
    """Runs the probe with only these settings and an empty model cache in `tmp_path`."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "")  # restored at the end, since the probe sets them
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.startswith("STT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STENOBUS_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def run(**settings: str) -> tuple[int, dict[str, Any]]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return print_probe(), json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


async def test_the_probe_prints_one_json_object(tmp_path: Path) -> None:
    out = tmp_path / "out"
    env = {"STT_MODEL": "models/whisper-micro", "STT_DEVICE": "cpu", "STT_COMPUTE_TYPE": "float32"}
    async with process("-m", "processors.stt", "probe", log=out, **env) as child:
        assert await child.wait() == 0
    assert json.loads(out.read_text()) == {
        "device": "cpu",
        "compute_type": "float32",
        "gpus": gpus(),
        "fault": None,
        "model": "models/whisper-micro",
        "folder": str(MODEL),
    }


def test_the_probe_names_the_default_model_and_downloads_nothing(probe: Probe, tmp_path: Path) -> None:
    code, found = probe(STT_DEVICE="cpu")
    assert (code, found["model"], found["compute_type"], found["folder"]) == (0, "small", "int8", None)
    assert not list(tmp_path.rglob("*.bin"))


def test_the_probe_finds_a_model_in_our_cache(probe: Probe, tmp_path: Path) -> None:
    folder = tmp_path / "ours/models/base"
    folder.mkdir(parents=True)
    (folder / "model.bin").touch()
    assert probe(STT_DEVICE="cpu", STT_MODEL="base")[1]["folder"] == str(folder)


@pytest.mark.parametrize("name", ["small", "some/model"])
def test_the_probe_finds_a_model_in_the_cache(probe: Probe, tmp_path: Path, name: str) -> None:
    repository = {"small": "models--Systran--faster-whisper-small"}.get(name, f"models--{name.replace('/', '--')}")
    folder = tmp_path / repository
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    assert probe(STT_DEVICE="cpu", STT_MODEL=name)[1]["folder"] is None  # an interrupted download
    (snapshot / "model.bin").touch()
    assert probe(STT_DEVICE="cpu", STT_MODEL=name)[1]["folder"] == str(snapshot)


def test_the_probe_says_why_a_gpu_is_not_used(probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_CACHE_PATH", str(tmp_path))
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 2)
    monkeypatch.setattr(cuda, "load_cublas", lambda: "cuBLAS is missing: get it")
    code, found = probe(STT_DEVICE="auto")
    assert (code, found["device"], found["gpus"], found["fault"]) == (0, "cpu", 2, "cuBLAS is missing: get it")
    code, found = probe(STT_DEVICE="cuda")
    assert (code, found["error"]) == (2, "STT_DEVICE='cuda': cuBLAS is missing: get it; accepted here: auto, cpu")
    assert probe(STT_DEVICE="cpu")[1]["fault"] is None


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"STT_MODEL": "huge"}, "STT_MODEL='huge': there is no such model; accepted: "),
        ({"STT_MODEL": "./nowhere"}, "STT_MODEL='./nowhere': there is no such folder"),
        ({"STT_COMPUTE_TYPE": "int3", "STT_DEVICE": "cpu"}, "STT_COMPUTE_TYPE='int3': not supported by cpu"),
        ({"STT_DEVICE": "tpu"}, "STT_DEVICE='tpu': "),
        ({"STT_DEVICE_INDEX": "63"}, "STT_DEVICE_INDEX=63: there is no usable CUDA device; accepted: "),
        ({"STT_BEAM_SIZE": "0"}, "STT_BEAM_SIZE='0': "),
    ],
)
def test_the_probe_reports_a_bad_setting(probe: Probe, settings: dict[str, str], error: str) -> None:
    code, found = probe(**settings)
    assert code == 2
    assert found["error"].startswith(error)


async def test_an_unforeseen_error_ends_the_process_with_the_reason(bus: Bus, nats_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    module = ("-m", "tests.processors.stt.engines", "lossy")
    async with process(*module, log=log, NATS_URL=nats_url) as child:
        await bus.publish(utterance(0))
        assert await child.wait() == 1
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["level"], last["event"]) == ("error", "process failed")
    assert "ValueError: zip() argument 2 is shorter than argument 1" in last["exception"]
