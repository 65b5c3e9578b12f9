"""`stenobus dead` against a real edge."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from bus import Bus
from client.commands.dead import show
from contract import Dead, Opened, Redrive
from contract.view import DeadLetterView
from tests.client.inprocess import invoke

LETTERS = [
    Dead(job="a", stream="EVENTS", seq=1, at="events.a.opened", reason="not today\nnor tomorrow", worker="w"),
    Dead(job="b", stream="EVENTS", seq=2, at="events.b.opened", reason="아직 아님", worker="w"),
    Dead(job="b", stream="SPEECH", seq=9, at="speech.b", reason="not a Utterance"),
    Dead(job="a", stream="SPEECH", seq=8, at="speech.a", reason="out of memory", worker="stt"),
]
"""Of these the first two can be tried again; no attempt can help the third, and the message of the last is gone."""


async def publish_letters(bus: Bus) -> None:
    for job in "ab":
        await bus.publish(Opened(job=job))
    for letter in LETTERS:
        await bus.publish(letter)


async def asked_for(bus: Bus) -> list[tuple[str, str, int]]:
    found = [Redrive.decode(raw.data) for raw in await bus.history("EVENTS", Redrive.pattern())]
    return [(redrive.job, redrive.stream, redrive.seq) for redrive in found]


@pytest.mark.usefixtures("edge")
async def test_lists_in_a_pipe_and_as_json(bus: Bus) -> None:
    assert await invoke("dead", "list") == (0, "", "")
    await publish_letters(bus)
    code, out, err = await invoke("dead", "list")
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert [(line[:3], line[4:]) for line in lines] == [
        (["a", "SPEECH", "8"], ["stt", "out of memory"]),
        (["b", "SPEECH", "9"], ["-", "not a Utterance"]),
        (["b", "EVENTS", "2"], ["w", "아직 아님"]),
        (["a", "EVENTS", "1"], ["w", "not today nor tomorrow"]),
    ]
    assert all(datetime.fromisoformat(line[3]) for line in lines)
    _, out, _ = await invoke("dead", "list", "--job", "a", "--limit", "1")
    assert [line.split("\t")[:3] for line in out.splitlines()] == [["a", "SPEECH", "8"]]
    code, out, err = await invoke("dead", "list", "--json", "--job", "b")
    assert (code, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(letter["job_id"], letter["seq"], letter["reason"]) for letter in found] == [
        ("b", 9, "not a Utterance"),
        ("b", 2, "아직 아님"),
    ]


def test_a_terminal_gets_a_table() -> None:
    job = "0123456789abcdef" * 2
    at = datetime(2025, 3, 4, 12, 30, tzinfo=UTC)
    letter = DeadLetterView(
        job_id=job, stream="SPEECH", seq=7, subject="speech.j", reason="out of\x1b[31m memory", at=at, worker="stt"
    )
    lost = letter.model_copy(update={"seq": 8, "reason": "garbage", "worker": None})
    out = StringIO()
    show([letter, lost], Console(file=out, force_terminal=True, no_color=True, width=100, highlight=False))
    heading, first, second = (line for line in out.getvalue().splitlines() if "\x1b[1m" in line or job in line)
    assert all(word in heading for word in ("Job", "Stream", "Seq", "When", "Reason"))
    assert "out of [31m memory" in first
    assert "garbage (cannot be tried again)" in second


def test_a_terminal_shows_that_there_are_none() -> None:
    out = StringIO()
    show([], Console(file=out, force_terminal=True, width=80))
    assert out.getvalue() == "no dead letters\n"


@pytest.mark.usefixtures("edge")
async def test_retries(bus: Bus) -> None:
    await publish_letters(bus)
    code, out, err = await invoke("dead", "retry", "b", "SPEECH", "9")
    assert (code, out) == (1, "")
    why = "message 9 of SPEECH cannot be tried again: not a Utterance"
    assert err == f"stenobus: the server answered 409: Conflict: {why}\n"
    assert await asked_for(bus) == []

    assert await invoke("dead", "retry", "a", "EVENTS", "1") == (0, "will be tried again: a EVENTS 1\n", "")
    assert await asked_for(bus) == [("a", "EVENTS", 1)]

    code, out, err = await invoke("dead", "retry", "--all", "b", "--json")
    assert (code, err) == (0, "stenobus: 1 cannot be tried again: see `stenobus dead list`\n")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"job_id": "b", "stream": "EVENTS", "seq": 2, "worker": "w"}
    ]
    assert await asked_for(bus) == [("a", "EVENTS", 1), ("b", "EVENTS", 2)]

    code, out, err = await invoke("dead", "retry", "--all")
    assert (code, out) == (1, "will be tried again: b EVENTS 2\nwill be tried again: a EVENTS 1\n")
    gone, lost = err.splitlines()
    assert gone.endswith("answered 410: Gone: message 8 of SPEECH has aged out: it is not stored any more")
    assert lost == "stenobus: 1 cannot be tried again: see `stenobus dead list`"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["retry"], "give JOB STREAM SEQ, as listed, or --all"),
        (["retry", "a", "EVENTS"], "give JOB STREAM SEQ, as listed, or --all"),
        (["retry", "a", "EVENTS", "1", "--all"], "with --all only JOB may be given"),
        (["list", "--limit", "0"], "Invalid value for '--limit'"),
        (["list", "--server", "localhost"], "is not an address like http://HOST:PORT"),
    ],
)
async def test_wrong_usage_is_exit_code_2(arguments: list[str], says: str) -> None:
    code, out, err = await invoke("dead", *arguments)
    assert (code, out) == (2, "")
    assert says in err


async def test_an_unreachable_server_is_exit_code_3(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    for command in (["list"], ["retry", "--all"], ["retry", "a", "EVENTS", "1"]):
        expected = (3, "", f"stenobus: cannot reach {url}: connection refused\n")
        assert await invoke("dead", *command, "--server", url) == expected
