"""Completion as a shell asks for it, and times as a person writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client import shell
from client.shell import read_since
from tests.client.inprocess import invoke
from tests.client.process import run_in
from tests.edge.conftest import Edge


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer to complete a word than a person would wait."""
    monkeypatch.setattr(shell, "COMPLETION_WITHIN", 20.0)


async def offered(words: str, **environment: str) -> list[str]:
    """What bash would offer for the last of these words."""
    number = str(len(words.split(" ")) - 1)
    asked = {"_STENOBUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": number}
    code, out, err = await invoke(environment=asked | environment)
    assert (code, err) == (0, "")
    return out.split()


async def test_jobs_are_offered(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    job, other = await edge.create(title="Stand-up"), await edge.create()
    for command in ("job", "export", "replay", "diff", "rm", "tail", "dead retry"):
        assert await offered(f"stenobus {command} ") == [other, job]
        assert await offered(f"stenobus {command} {job[:8]}") == [job]
    code, out, _ = await invoke(
        environment={"_STENOBUS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "stenobus job "}
    )
    assert code == 0
    assert job in out
    assert "Stand-up" in out
    monkeypatch.delenv("STENOBUS_URL")
    assert await offered(f"stenobus job --server {edge.url} ") == [other, job]


async def test_without_a_server_nothing_is_offered_and_nothing_printed(closed_port: int) -> None:
    for url in (f"http://127.0.0.1:{closed_port}", "nonsense"):
        assert await offered("stenobus job ", STENOBUS_URL=url) == []


async def test_commands_and_choices_are_offered() -> None:
    assert {"stream", "jobs", "job", "export", "rm", "tail", "doctor", "up", "dead"} <= set(await offered("stenobus "))
    assert await offered("stenobus export x --format ") == ["txt", "srt", "vtt", "json", "md"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
async def test_the_script_for_a_shell(name: str) -> None:
    code, out, err = await invoke(environment={"_STENOBUS_COMPLETE": f"source_{name}"})
    assert (code, err) == (0, "")
    assert "_STENOBUS_COMPLETE" in out
    assert f"complete_{name}" in out


async def test_a_process_completes() -> None:
    asked = {"_STENOBUS_COMPLETE": "complete_bash", "COMP_WORDS": "stenobus ex", "COMP_CWORD": "1"}
    assert await run_in(asked) == (0, "export\n", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(days=7)),
        ("0s", timedelta()),
        ("2025-03-04T14:30Z", datetime(2025, 3, 4, 14, 30, tzinfo=UTC)),
        ("2025-03-04T14:30+09:00", datetime(2025, 3, 4, 5, 30, tzinfo=UTC)),
        ("2025-03-04 14:30", datetime(2025, 3, 4, 14, 30).astimezone()),
        ("2025-03-04", datetime(2025, 3, 4).astimezone()),
    ],
)
def test_times_that_are_taken(text: str, expected: datetime | timedelta) -> None:
    found = read_since(text)
    assert found == expected
    assert not isinstance(found, datetime) or found.tzinfo is not None


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10 m", "m", "-5m", "1h30", "2025-13-01", "10m2025-03-04"])
def test_times_that_are_not(text: str) -> None:
    with pytest.raises(
        ValueError, match="is not a time; accepted: how long ago, as 90s, 10m, 1h30m, 2d, or a time, as 2025"
    ):
        read_since(text)


def test_too_long_ago() -> None:
    with pytest.raises(ValueError, match="too long ago"):
        read_since("9" * 12 + "w")
