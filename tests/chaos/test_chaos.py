"""One minute of chaos over the whole system."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tools.system import ROOT


@pytest.mark.timeout(400)
@pytest.mark.slow
async def test_a_minute_of_chaos_loses_no_word(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos", "--seconds", "60", "--meetings", "4", "--every", "2", "--seed", "1"),
        *("--keep", str(tmp_path)),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    told = out.decode() + err.decode()
    assert process.returncode == 0, told
    figures = json.loads(out.splitlines()[-1])
    assert figures["faults"] >= 20, told
    assert figures["held"] >= 8
    lost = {
        name: figures[name] for name in ("acked_samples_lost", "segments_missing", "segments_doubled", "unfinished")
    }
    assert set(lost.values()) == {0}, told


async def test_bad_arguments_are_refused_with_what_is_accepted() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos", "--seconds", "soon"), cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "'soon' is not a number of seconds above 0" in err.decode()
