"""`stenobus jobs`, `export` and `rm` against a real edge."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from bus import Bus
from contract import Opened
from tests.client.inprocess import invoke
from tests.client.test_main import ROOT
from tests.edge.conftest import Edge
from tests.edge.meeting import hold


@pytest.fixture
async def finished(edge: Edge, bus: Bus, redis_url: str) -> str:
    """A finished job with two segments, created with a title."""
    job = await edge.create(title='Greetings: "회의"')
    await hold(bus, redis_url, job)
    return job


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


async def test_a_list_in_a_pipe_and_as_json(edge: Edge, finished: str) -> None:
    live = await edge.create(title="second")
    code, out, err = await invoke("jobs")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [[row[0], *row[2:]] for row in rows] == [
        [live, "created", "-", "second", ""],
        [finished, "completed", "2", 'Greetings: "회의"', "Hello there. Goodbye."],
    ]
    code, out, err = await invoke("jobs", "--json", "--status", "completed", "--status", "failed", "-q", "goodbye")
    assert (code, err) == (0, "")
    (found,) = [json.loads(line) for line in out.splitlines()]
    assert (found["job_id"], found["segments"], found["source"]) == (finished, 2, "live")


@pytest.mark.usefixtures("finished")
async def test_a_list_goes_on_where_it_ended(edge: Edge) -> None:
    newest = await edge.create()
    code, out, err = await invoke("jobs", "--limit", "1")
    assert (code, out.split("\t")[0]) == (0, newest)
    cursor = err.removeprefix("stenobus: there are more: --cursor ").removesuffix(", or --all\n")
    code, out, err = await invoke("jobs", "--limit", "1", "--cursor", cursor)
    assert (code, err) == (0, "")
    assert "Greetings" in out
    code, out, err = await invoke("jobs", "--cursor", "nonsense")
    assert (code, out) == (1, "")
    assert "422" in err
    assert "'nonsense' is not the cursor of a page" in err


async def test_a_spinner_on_the_terminal_keeps_out_of_a_file(finished: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    path = tmp_path / "jobs.tsv"
    try:
        command = [sys.executable, "-m", "client", "jobs"]
        with path.open("wb") as file:
            process = await asyncio.create_subprocess_exec(*command, stdout=file, stderr=theirs, cwd=ROOT)
        assert await process.wait() == 0
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "looking for jobs" in shown
    assert path.read_text().startswith(f"{finished}\t")
    assert path.read_text().count("\n") == 1


async def test_all_jobs(edge: Edge) -> None:
    created = [await edge.create() for _ in range(23)]
    code, out, err = await invoke("jobs", "--all", "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["job_id"] for line in out.splitlines()] == created[::-1]


@pytest.mark.usefixtures("edge")
async def test_no_jobs() -> None:
    assert await invoke("jobs") == (0, "", "")
    assert await invoke("jobs", "--json") == (0, "", "")


async def test_an_export_goes_to_stdout_or_into_a_file(finished: str, tmp_path: Path) -> None:
    assert await invoke("export", finished) == (0, "Hello there.\nGoodbye.\n", "")
    path = tmp_path / "subtitles.vtt"
    assert await invoke("export", finished, "-o", str(path)) == (0, "", "")
    assert path.read_text().startswith("WEBVTT\n")
    path.write_text("older and longer" * 100)
    assert await invoke("export", finished, "-o", str(path), "--format", "txt") == (0, "", "")
    assert path.read_text() == "Hello there.\nGoodbye.\n"
    code, out, _ = await invoke("export", finished, "--json")
    assert (code, json.loads(out)["job_id"]) == (0, finished)


async def test_an_export_under_the_name_that_the_server_gives(
    finished: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await invoke("export", finished, "-O", "--format", "md") == (0, "Greetings 회의.md\n", "")
    text = (tmp_path / "Greetings 회의.md").read_text()
    assert "회의" in text
    assert "Hello there." in text
    there = "stenobus: Greetings 회의.md is there already: move it away, or name a file with -o\n"
    assert await invoke("export", finished, "-O", "--format", "md") == (1, "", there)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "minutes.pdf"], "minutes.pdf: say which with --format: txt, srt, vtt, json, md"),
        (["-o", "a.md", "-O"], "give -o or -O, not both"),
        (["--json", "--format", "md"], "give --json or --format, not both"),
        (["--format", "doc"], "Invalid value for '--format'"),
    ],
)
async def test_an_export_that_makes_no_sense(arguments: list[str], says: str) -> None:
    code, out, err = await invoke("export", "j1", *arguments)
    assert (code, out) == (2, "")
    assert says in err


async def test_a_file_that_cannot_be_written(finished: str) -> None:
    code, out, err = await invoke("export", finished, "-o", "/nowhere/a.txt")
    assert (code, out, err) == (1, "", "stenobus: cannot write /nowhere/a.txt: no such file or directory\n")


async def test_a_job_is_erased_when_the_answer_is_yes(edge: Edge, finished: str) -> None:
    code, out = await answer("n\n", "rm", finished)
    assert code == 0
    assert 'Erase “Greetings: "회의"” (00:02, ' in out
    assert "erased" not in out
    assert (await edge.get(f"/api/v1/jobs/{finished}")).status_code == 200
    code, out = await answer("y\n", "rm", finished)
    assert code == 0
    assert 'erased: “Greetings: "회의"” (00:02, ' in out
    assert (await edge.get(f"/api/v1/jobs/{finished}")).status_code == 410


async def test_what_cannot_be_erased_is_told_and_the_rest_is(edge: Edge, bus: Bus, finished: str) -> None:
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
    assert "there is nobody to ask: give --yes" in err


async def test_nobody_there(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    for command in (["jobs"], ["export", "j1"], ["rm", "j1", "--yes"]):
        assert await invoke(*command, "--server", url) == (3, "", f"stenobus: cannot reach {url}: connection refused\n")
