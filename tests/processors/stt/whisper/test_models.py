"""Finding models: names, folders, the cache, hashes, devices and compute types."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
from huggingface_hub import constants

from bus import StartError
from processors.stt.core import Model
from processors.stt.whisper.engine import Engine
from processors.stt.whisper.models import (
    cache_folder,
    choose_compute_type,
    choose_device,
    find_model,
    hash_model,
    offered_models,
)
from tests.processors.stt.sounds import MICRO, ROOT


def test_the_hash_depends_only_on_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.bin").write_bytes(b"weights")
    first = hash_model(folder)
    for name in ("README.md", ".gitattributes"):
        (folder / name).write_text("about")
    (folder / "recipe").mkdir()
    assert hash_model(folder) == first
    (folder / "model.bin").write_bytes(b"weightz")
    assert hash_model(folder) != first
    (folder / "model.bin").write_bytes(b"weights")
    assert hash_model(folder) == first
    (folder / "config.json").rename(folder / "config2.json")
    assert hash_model(folder) != first


def test_links_are_hashed_as_their_targets(tmp_path: Path) -> None:
    for path in MICRO.iterdir():
        (tmp_path / path.name).symlink_to(path)
    assert hash_model(tmp_path) == hash_model(MICRO)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("./nowhere", "there is no such folder"),
        ("~/nowhere-at-all", "there is no such folder"),
        ("some/such/folder", "there is no such folder"),
        ("smal", "there is no such model"),
        (str(ROOT / "samples"), "there is no model.bin in that folder"),
        (str(MICRO / "model.bin"), "that is not a folder"),
    ],
)
def test_a_missing_model_is_named_with_what_is_accepted(name: str, wrong: str) -> None:
    with pytest.raises(StartError) as caught:
        find_model(name)
    assert str(caught.value).startswith(f"STT_MODEL={name!r}: {wrong}; accepted: ")
    assert "large-v3-turbo" in str(caught.value)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of downloaded models, an empty cache of ours in `ours`, and no network."""
    monkeypatch.setenv("STENOBUS_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repository: str) -> Path:
    """An empty download of a repository."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(snapshot.name)
    return snapshot


@pytest.mark.parametrize(
    ("name", "repository"), [("tiny", "Systran/faster-whisper-tiny"), ("someone/whisper-ct2", "someone/whisper-ct2")]
)
def test_a_model_in_the_cache_needs_no_network_and_keeps_its_name(cache: Path, name: str, repository: str) -> None:
    snapshot = put(cache, repository)
    for path in MICRO.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert Engine(name, device="cpu").model == Model(name, hash_model(MICRO))


def test_our_cache_comes_before_that_of_the_hub(cache: Path) -> None:
    (put(cache, "Systran/faster-whisper-base") / "model.bin").touch()
    (cache / "ours/models").mkdir(parents=True)
    (cache / "ours/models/base").symlink_to(MICRO)
    assert find_model("base") == cache / "ours/models/base"
    assert Engine("base", device="cpu").model == Model("base", hash_model(MICRO))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "~/.cache/stenobus"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/stenobus"),
        ({"XDG_CACHE_HOME": "/caches", "STENOBUS_CACHE": "~/own"}, "~/own"),
    ],
)
def test_where_our_cache_is(variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "STENOBUS_CACHE"):
        monkeypatch.setenv(name, variables.get(name, ""))
    assert cache_folder() == Path(folder).expanduser()


def test_a_folder_here_comes_before_a_repository_of_that_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "models/whisper-micro")
    monkeypatch.chdir(ROOT)
    assert find_model("models/whisper-micro") == Path("models/whisper-micro")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("tiny", "not in the cache, and cannot be downloaded (Cannot find "),
        ("models/none", "neither a folder here nor in the cache, and cannot be downloaded (Cannot find "),
        ("nowhere/", "neither a folder here nor in the cache, and cannot be downloaded (Repo id must "),
    ],
)
@pytest.mark.usefixtures("cache")
def test_a_model_that_cannot_be_downloaded_is_named_with_what_is_accepted(name: str, wrong: str) -> None:
    with pytest.raises(StartError) as caught:
        find_model(name)
    assert str(caught.value).startswith(f"STT_MODEL={name!r}: {wrong}")
    assert "; accepted: the path of a folder with a Whisper model in CTranslate2 format, " in str(caught.value)


def test_a_repository_without_a_model_is_refused(cache: Path) -> None:
    (put(cache, "someone/whisper") / "config.json").write_text("{}")
    with pytest.raises(StartError, match=r"^STT_MODEL='someone/whisper': what was downloaded has no model\.bin; accep"):
        find_model("someone/whisper")


def test_a_broken_model_says_what_is_broken(tmp_path: Path) -> None:
    shutil.copytree(MICRO, tmp_path / "broken")
    (tmp_path / "broken/model.bin").write_bytes(b"not weights")
    with pytest.raises(StartError, match=r"^STT_MODEL='.*broken': cannot be used on cpu: "):
        Engine(str(tmp_path / "broken"), device="cpu")


@pytest.mark.parametrize(("fault", "device"), [("there is no usable CUDA device", "cpu"), (None, "cuda")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch, fault: str | None, device: str) -> None:
    monkeypatch.setattr("processors.stt.whisper.models.gpu_fault", lambda: fault)
    assert choose_device("auto") == device
    assert choose_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(StartError, match=r"STT_DEVICE='cuda'.*accepted here: auto, cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("device", "supported", "expected"),
    [
        ("cuda", {"float32", "float16", "int8", "int8_float16"}, "float16"),
        ("cuda", {"float32", "int8"}, "int8"),
        ("cpu", {"float32", "int8", "int8_float32"}, "int8"),
        ("cpu", {"float32"}, "float32"),
    ],
)
def test_auto_takes_the_best_compute_type_of_the_device(
    monkeypatch: pytest.MonkeyPatch, device: Any, supported: set[str], expected: str
) -> None:
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _device: supported)
    assert choose_compute_type("auto", device) == expected


def test_a_compute_type_of_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _device: {"float32", "int8"})
    with pytest.raises(StartError, match=r"STT_COMPUTE_TYPE='float16'.*accepted here: auto, float32, int8"):
        choose_compute_type("float16", "cpu")


def test_offered_models_have_the_names_used_in_transcripts(tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(MICRO)
    names = ["small", "someone/whisper-ct2", str(tmp_path / "here")]
    assert offered_models(names) == {
        "small": "small",
        "someone/whisper-ct2": "someone/whisper-ct2",
        "whisper-micro": str(tmp_path / "here"),
    }
    assert offered_models([]) == {}
    assert offered_models(["small", "small"]) == {"small": "small"}


def test_a_bad_offer_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"^STT_MODELS='smal': there is no such model; accepted: "):
        offered_models(["small", "smal"])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copytree(MICRO, tmp_path / name / "whisper")
    paths = [str(tmp_path / name / "whisper") for name in ("one", "two")]
    with pytest.raises(StartError, match=r"^STT_MODELS: .* have the same name; accepted: one of each name$"):
        offered_models(paths)
