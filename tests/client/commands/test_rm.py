"""`stenobus rm` against a real edge."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from asyncio.subprocess import PIPE

from bus import Bus
from contract import Opened
from tests.client.inprocess import invoke
from tests.client.process import ROOT
from tests.edge.conftest import Edge
from tests.edge.meeting import hold


async def answer(words: str, *args: str) -> tuple[int | None, str]:
    """Exit code and output of a command with a terminal, at which somebody types."""
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "client", *args]
        environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100"}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=theirs, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT, env=environment
        )
        os.write(ours, words.encode())
        out, _ = await process.communicate()
        return process.returncode, out.decode()
    finally:
        os.close(ours)
        os.close(theirs)


async def test_a_job_is_erased_when_the_answer_is_yes(edge: Edge, bus: Bus, redis_url: str, finished: str) -> None:
    other = await edge.create(title="Stand-up")
    await hold(bus, redis_url, other)
    code, out = await answer("n\ny\n", "rm", finished, other)
    assert code == 0
    assert 'Erase “Greetings: "회의"” (00:02, ' in out
    assert "Erase “Stand-up” (00:02, " in out
    assert out.count("erased: ") == 1
    assert "erased: “Stand-up” (00:02, " in out
    assert (await edge.get(f"/api/v1/jobs/{finished}")).status_code == 200
    assert (await edge.get(f"/api/v1/jobs/{other}")).status_code == 410


async def test_what_cannot_be_erased_is_reported_and_the_rest_is_erased(edge: Edge, bus: Bus, finished: str) -> None:
    live = await edge.create()
    await bus.create(Opened(job=live))
    code, out, err = await invoke("rm", live, "nobody", finished, "--yes", "--json")
    assert (code, json.loads(out)) == (1, {"job_id": finished, "erased": True})
    first, second = err.splitlines()
    assert first.startswith(f"stenobus: not erased: job '{live}' is live: stop it first")
    assert second == "stenobus: there is no job nobody"
    assert (await edge.get(f"/api/v1/jobs/{live}")).status_code == 200
    assert await invoke("rm", finished, "-y") == (1, "", f"stenobus: job {finished} was erased before\n")


async def test_nobody_to_ask() -> None:
    code, out, err = await invoke("rm", "j1", "--server", "http://127.0.0.1:1")
    assert (code, out) == (2, "")
    assert "nobody can be asked here: give --yes" in err


async def test_an_unreachable_server(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    for command in (["jobs"], ["export", "j1"], ["rm", "j1", "--yes"]):
        assert await invoke(*command, "--server", url) == (3, "", f"stenobus: cannot reach {url}: connection refused\n")
