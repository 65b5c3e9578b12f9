"""The examples that users read do what they say."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

import stenobus
from bus import Bus
from contract import Completed, Opened, Transcript

ROOT = Path(__file__).parents[2]
README = re.findall(
    r"```python\n(import asyncio\nimport stenobus\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
)
DOCSTRING = re.findall(r"^    .*?asyncio\.run\(main\(\)\)$", inspect.cleandoc(stenobus.__doc__ or ""), re.DOTALL | re.M)


def test_there_is_an_example_in_each_language() -> None:
    assert (len(README), len(DOCSTRING)) == (1, 1)
    assert inspect.cleandoc(DOCSTRING[0]) == README[0].strip()


@pytest.mark.parametrize("example", README)
async def test_an_example_prints_transcripts(bus: Bus, nats_url: str, example: str) -> None:
    said = Transcript(job="j", index=0, start=0, end=1, text="다음 회의는 금요일입니다.")
    for message in (Opened(job="j"), said, Completed(job="j", segments=1, samples=1)):
        await bus.create(message)
    code = example.replace("nats://127.0.0.1:4222", nats_url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", code), stdout=PIPE, cwd=ROOT, env={"PYTHONUTF8": "1"}
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode() == "2 j 다음 회의는 금요일입니다.\n"
    await bus.create(said.model_copy(update={"index": 1}))
    assert (await process.stdout.readline()).decode() == "4 j 다음 회의는 금요일입니다.\n"
    process.kill()
    await process.wait()
