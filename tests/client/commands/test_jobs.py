"""`stenobus jobs` against a real edge."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from client.commands.jobs import ListedState, pages, tabbed, table
from client.errors import ServerError
from client.reading import JobEntry, JobPage
from client.view import when
from contract import State
from tests.client.inprocess import invoke
from tests.client.process import ROOT
from tests.client.test_view import console, output
from tests.edge.conftest import Edge

AT = datetime(2025, 3, 4, 12, 30, tzinfo=UTC)
LIVE = JobEntry(
    job_id="j2",
    state="streaming",
    title=None,
    created_at=AT,
    completed_at=None,
    duration=None,
    segments=None,
    language=None,
    source="live",
    text="",
)
JOB = LIVE.model_copy(
    update={
        "job_id": "0123456789abcdef" * 2,
        "state": "completed",
        "title": "Stand\x1b[31m-up",
        "duration": 61.25,
        "text": "Good morning.\nThe prototype is almost finished, and that sounds good to me and everyone who is here.",
    }
)


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


async def test_no_jobs_and_all_jobs(edge: Edge) -> None:
    assert await invoke("jobs") == (0, "", "")
    assert await invoke("jobs", "--json") == (0, "", "")
    created = [await edge.create() for _ in range(23)]
    code, out, err = await invoke("jobs", "--all", "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["job_id"] for line in out.splitlines()] == created[::-1]


def test_a_line_for_a_pipe() -> None:
    assert tabbed(JOB).split("\t") == [
        JOB.job_id,
        "2025-03-04T12:30:00+00:00",
        "completed",
        "61.25",
        "Stand [31m-up",
        JOB.text.replace("\n", " "),
    ]
    assert tabbed(LIVE).split("\t") == ["j2", "2025-03-04T12:30:00+00:00", "streaming", "-", "-", ""]


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_keeps_to_its_width_and_ids_whole(width: int) -> None:
    screen = console(width, terminal=True)
    screen.print(table([JOB, LIVE]))
    heading, first, second = output(screen).splitlines()
    assert all(word in heading for word in ("Id", "When", "State", "Length", "Title"))
    assert first.startswith(f"{JOB.job_id} {when(AT)} completed  01:01 Stand [31m-u")
    assert first.rstrip().endswith("…")
    assert second.split() == ["j2", *when(AT).split(), "streaming", "-"]


def test_states_are_those_of_the_server() -> None:
    assert set(ListedState) == set(get_args(State)) - {"deleted"}


async def test_pages_are_asked_for_until_there_are_enough() -> None:
    asked: list[tuple[int, str | None]] = []

    async def ask(most: int, cursor: str | None) -> JobPage:
        asked.append((most, cursor))
        found = min(most, 200) if len(asked) != 2 else 0  # a search that has found nothing so far
        return JobPage(jobs=[{}] * found, next_cursor=f"c{len(asked)}", searched=1_000)

    assert [len(page.jobs) async for page in pages(ask, 450, None)] == [200, 0, 200, 50]
    assert asked == [(200, None), (200, "c1"), (200, "c2"), (50, "c3")]


async def test_all_pages_end_with_the_last() -> None:
    async def ask(_most: int, cursor: str | None) -> JobPage:
        return JobPage(jobs=[{}], next_cursor={None: "a", "a": "b"}.get(cursor), searched=1)

    assert [len(page.jobs) async for page in pages(ask, None, None)] == [1, 1, 1]


async def test_a_list_that_never_ends_is_ended() -> None:
    async def ask(_most: int, _cursor: str | None) -> JobPage:
        return JobPage(jobs=[], next_cursor="a", searched=0)

    with pytest.raises(ServerError, match="never ends"):
        assert [page async for page in pages(ask, None, None)]
