"""GPUs of this machine: one speech worker for each, because a worker uses only one."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SPEECH = "processors.stt"

_ANSWER_WITHIN = 60.0


async def count(environment: Mapping[str, str]) -> int:
    """How many GPUs speech workers with this environment would use; 0: they run on the CPU, or somebody chose a GPU.

    A worker knows which GPUs can be used, and is asked only where there may be one.
    """
    if environment.get("STT_DEVICE_INDEX") or environment.get("STT_DEVICE") == "cpu" or not _has_driver(environment):
        return 0
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", SPEECH, "probe"), env=environment, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    output = b""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_WITHIN):
                output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    with suppress(ValueError, IndexError, KeyError, TypeError):
        found = json.loads(output.splitlines()[-1])
        return int(found["gpus"]) if found["device"] == "cuda" else 0
    return 0  # it cannot start, and says why when it is started


def _has_driver(environment: Mapping[str, str]) -> bool:
    devices = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]
    return bool(devices or shutil.which("nvidia-smi", path=environment.get("PATH")))
