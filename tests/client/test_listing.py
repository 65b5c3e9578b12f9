from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from client.commands.jobs import pages
from client.errors import ServerError
from client.listing import Listed, Page, State, length, read_listed, read_page, tabbed, table, titled, when
from contract import State as StoredState
from tests.client.test_view import console, output

AT = datetime(2025, 3, 4, 12, 30, tzinfo=UTC)
JOB = Listed(
    job_id="0123456789abcdef" * 2,
    state="completed",
    created_at=AT,
    title="Stand\x1b[31m-up",
    duration=61.25,
    text="Good morning.\nThe prototype is almost finished, and that sounds good to me and everyone else who is here.",
)
LIVE = Listed(job_id="j2", state="streaming", created_at=AT)


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


def test_what_tells_a_job_from_others() -> None:
    assert titled(JOB) == f"{when(AT)} Stand [31m-up"
    assert titled(JOB.model_copy(update={"title": None})).startswith(f"{when(AT)} Good morning. The")
    assert titled(LIVE) == f"{when(AT)} streaming"


def test_length() -> None:
    assert (length(None), length(3_600)) == ("-", "1:00:00")


def test_states_are_those_of_the_server() -> None:
    known = set(get_args(StoredState))
    assert set(State) == known - {"deleted"}


@pytest.mark.parametrize("answer", [{}, {"jobs": 3}, {"jobs": [], "next_cursor": 3}])
def test_an_answer_that_is_no_page(answer: dict[str, Any]) -> None:
    with pytest.raises(ServerError, match="the server gave a list of jobs that breaks the contract"):
        read_page(answer)


def test_a_job_that_is_none() -> None:
    with pytest.raises(ServerError, match="the server gave a job that breaks the contract: created_at"):
        read_listed([{"job_id": "j", "state": "completed"}])


async def test_pages_are_asked_for_until_there_are_enough() -> None:
    asked: list[tuple[int, str | None]] = []

    async def ask(most: int, cursor: str | None) -> Page:
        asked.append((most, cursor))
        found = min(most, 200) if len(asked) != 2 else 0  # a search that has found nothing so far
        return Page(jobs=[{}] * found, next_cursor=f"c{len(asked)}", searched=1_000)

    assert [len(page.jobs) async for page in pages(ask, 450, None)] == [200, 0, 200, 50]
    assert asked == [(200, None), (200, "c1"), (200, "c2"), (50, "c3")]


async def test_all_pages_end_with_the_last() -> None:
    async def ask(_most: int, cursor: str | None) -> Page:
        return Page(jobs=[{}], next_cursor={None: "a", "a": "b"}.get(cursor))

    assert [len(page.jobs) async for page in pages(ask, None, None)] == [1, 1, 1]


async def test_a_list_that_never_ends_is_ended() -> None:
    async def ask(_most: int, _cursor: str | None) -> Page:
        return Page(jobs=[], next_cursor="a")

    with pytest.raises(ServerError, match="never ends"):
        assert [page async for page in pages(ask, None, None)]
