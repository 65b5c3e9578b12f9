"""Finding a speech model: name, folder, hash, device and compute type."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import structlog

from bus import StartError
from processors.stt.whisper.backend import compute_types, download, gpu_fault, gpus, known_models
from processors.stt.whisper.cuda import NO_MEMORY, has_started, kernel_cache

log = structlog.get_logger()

Device = Literal["auto", "cpu", "cuda"]

DEFAULT_MODEL = {"cpu": "small", "cuda": "large-v3-turbo"}
PREFERRED_COMPUTE_TYPES = {"cpu": ("int8", "float32"), "cuda": ("float16", "int8", "float32")}
"""`auto` means the first of these that the device supports; every device supports float32."""


def choose_device(device: Device) -> Literal["cpu", "cuda"]:
    """The device to use: with `auto` the CPU if no GPU can be used.

    Raises StartError if `cuda` cannot be, or if a GPU has no memory left just now: after the next start it may have.
    """
    if device == "cpu":
        return "cpu"
    if gpus():
        _keep_kernels(kernel_cache(os.environ))
    fault = gpu_fault()
    if fault is None:
        return "cuda"
    if device == "cuda" or fault == NO_MEMORY:
        raise StartError(f"STT_DEVICE={device!r}: {fault}; accepted here: {'cpu' if device == 'auto' else 'auto, cpu'}")
    if gpus():
        log.warning("the CPU is used in place of the GPU", reason=fault)
    return "cpu"


def _keep_kernels(folder: Path) -> None:
    """Make the folder for kernels that the driver compiles, and say so if that may take a while."""
    with suppress(OSError):  # then it compiles them at each start
        folder.mkdir(parents=True, exist_ok=True)
    if not has_started(folder):
        log.info("a GPU newer than Ada compiles its kernels now, for up to a minute", kept_in=str(folder))


def choose_compute_type(compute_type: str, device: Literal["cpu", "cuda"]) -> str:
    """The compute type to use; raises StartError if the device does not support it."""
    supported = compute_types(device)
    if compute_type == "auto":
        return next(name for name in PREFERRED_COMPUTE_TYPES[device] if name in supported)
    if compute_type not in supported:
        accepted = ", ".join(["auto", *sorted(supported)])
        raise StartError(f"STT_COMPUTE_TYPE={compute_type!r}: not supported by {device}; accepted here: {accepted}")
    return compute_type


def find_model(name: str) -> Path:
    """The folder of a model in CTranslate2 format; raises StartError.

    `name`: the path of such a folder, a name that faster-whisper knows, or `owner/name` on the Hugging Face hub. A
    model of the hub is downloaded unless it is in the cache.
    """
    if name in known_models():
        return _download(name, "not in the cache")
    if (folder := _find_folder(name, "STT_MODEL")) is not None:
        return folder
    return _download(name, "neither a folder here nor in the cache")


def cache_folder() -> Path:
    """Where models are looked for before anything is downloaded: $STENOBUS_CACHE, or `stenobus` in the user's cache."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = Path(os.environ.get("STENOBUS_CACHE") or users / "stenobus")
    try:
        return folder.expanduser()
    except RuntimeError:  # a user without a home, as in many containers: nothing is found there
        return folder


def cached_model(name: str) -> Path | None:
    """The folder of a model that is in our cache folder or in that of the Hugging Face hub, else None."""
    folder = cache_folder() / "models" / name
    if name in known_models() and (folder / "model.bin").is_file():
        return folder
    try:
        folder = download(name, cached=True)
    except (OSError, ValueError, RuntimeError):  # not cached, not a valid name, or a user without a home
        return None
    return folder if (folder / "model.bin").is_file() else None  # an interrupted download leaves a folder without it


def offered_models(names: Iterable[str]) -> dict[str, str]:
    """The models that a job may ask for: from the name used in jobs and transcripts to the name for `find_model`.

    A path is offered under the name of its folder. Nothing is downloaded. Raises StartError if there is no such model
    or if two have the same name.
    """
    found: dict[str, str] = {}
    for name in names:
        folder = None if name in known_models() else _find_folder(name, "STT_MODELS")
        shown = folder.resolve().name if folder else name
        if found.setdefault(shown, name) != name:
            raise StartError(
                f"STT_MODELS: {found[shown]!r} and {name!r} have the same name; accepted: one of each name"
            )
    return found


def _find_folder(name: str, variable: str) -> Path | None:
    """The folder if `name` is a path, None if it may be a model of the hub; raises StartError for anything else."""
    folder = Path(name).expanduser()
    if (folder / "model.bin").is_file():
        return folder
    if folder.is_dir():
        raise _no_model(name, "there is no model.bin in that folder", variable)
    if folder.exists():
        raise _no_model(name, "that is not a folder", variable)
    if is_hub_id(name):
        return None
    is_path = name.startswith((".", "~")) or "/" in name or os.sep in name
    raise _no_model(name, "there is no such folder" if is_path else "there is no such model", variable)


def is_hub_id(name: str) -> bool:
    """Whether this could be `owner/name` on the Hugging Face hub; a path with one slash looks the same."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _download(name: str, wrong: str) -> Path:
    if (cached := cached_model(name)) is not None:
        return cached
    log.info("downloading the speech model", model=name)
    try:
        folder = download(name)
    except Exception as exc:
        raise _no_model(name, f"{wrong}, and cannot be downloaded ({first_line(exc)})") from exc
    if not (folder / "model.bin").is_file():
        raise _no_model(name, "what was downloaded has no model.bin")
    return folder


def _no_model(name: str, wrong: str, variable: str = "STT_MODEL") -> StartError:
    return StartError(
        f"{variable}={name!r}: {wrong}; accepted: the path of a folder with a Whisper model in CTranslate2 format, "
        f"owner/name of one on the Hugging Face hub, or one of {', '.join(known_models())}"
    )


def hash_model(folder: Path) -> str:
    """First 16 hex digits of SHA-256 over a model folder: the name and SHA-256 of each file, sorted by name.

    READMEs, hidden files and subfolders are left out.
    """
    total = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_file() and not path.name.lower().startswith((".", "readme")):
            with path.open("rb") as file:
                total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def cores() -> int:
    """Number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def first_line(exc: Exception) -> str:
    """The first line of an exception's message, or its class if it has none."""
    return str(exc).partition("\n")[0] or type(exc).__name__
