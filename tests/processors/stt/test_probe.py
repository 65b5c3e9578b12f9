from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from processors.stt.whisper import gpus
from tools.system import MODEL, ROOT


async def probe(**environment: str) -> tuple[int | None, dict[str, Any]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STT_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "processors.stt.probe"), stdout=PIPE, cwd=ROOT, env=clean | environment
    )
    out, _ = await process.communicate()
    return process.returncode, json.loads(out)


async def test_a_folder_and_a_device() -> None:
    assert await probe(STT_MODEL="models/whisper-micro", STT_DEVICE="cpu", STT_COMPUTE_TYPE="float32") == (
        0,
        {
            "device": "cpu",
            "compute_type": "float32",
            "gpus": gpus(),
            "model": "models/whisper-micro",
            "folder": str(MODEL),
        },
    )


def test_what_is_taken_unless_something_is_said(tmp_path: Path) -> None:
    code, found = asyncio.run(probe(STT_DEVICE="cpu", HF_HOME=str(tmp_path)))
    assert (code, found["model"], found["compute_type"], found["folder"]) == (0, "small", "int8", None)
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize("name", ["small", "some/model"])
async def test_a_model_in_the_cache(tmp_path: Path, name: str) -> None:
    repository = {"small": "models--Systran--faster-whisper-small"}.get(name, f"models--{name.replace('/', '--')}")
    folder = tmp_path / "hub" / repository
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    environment = {"STT_DEVICE": "cpu", "STT_MODEL": name, "HF_HOME": str(tmp_path)}
    assert (await probe(**environment))[1]["folder"] is None  # a download that broke off
    (snapshot / "model.bin").touch()
    assert (await probe(**environment))[1]["folder"] == str(snapshot)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"STT_MODEL": "huge"}, "STT_MODEL='huge': there is no such model; accepted: "),
        ({"STT_MODEL": "./nowhere"}, "STT_MODEL='./nowhere': there is no such folder"),
        ({"STT_COMPUTE_TYPE": "int3", "STT_DEVICE": "cpu"}, "STT_COMPUTE_TYPE='int3': not supported by cpu"),
        ({"STT_BEAM_SIZE": "0"}, "STT_BEAM_SIZE='0': "),
    ],
)
async def test_what_cannot_be_taken(environment: dict[str, str], says: str) -> None:
    code, found = await probe(**environment)
    assert code == 2
    assert found["error"].startswith(says)
