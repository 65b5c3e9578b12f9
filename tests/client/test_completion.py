from __future__ import annotations

import pytest

from tests.client.test_main import run, run_in
from tests.edge.conftest import Edge


async def offered(words: str, **environment: str) -> list[str]:
    """What bash would offer for the last of these words, as the script asks that `--install-completion` installs."""
    number = str(len(words.split(" ")) - 1)
    asked = {"_STENOBUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": number}
    code, out, err = await run_in(asked | environment)
    assert (code, err) == (0, "")
    return out.split()


@pytest.mark.parametrize("command", ["job", "export", "rm", "tail", "dead retry"])
async def test_jobs_are_offered(edge: Edge, command: str) -> None:
    job, other = await edge.create(title="Stand-up"), await edge.create()
    assert await offered(f"stenobus {command} ") == [other, job]
    assert await offered(f"stenobus {command} {job[:8]}") == [job]


async def test_a_shell_that_can_is_told_which_job_it_is(edge: Edge) -> None:
    job = await edge.create(title="Stand-up")
    environment = {"_STENOBUS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "stenobus job "}
    code, out, _ = await run_in(environment)
    assert code == 0
    assert job in out
    assert "Stand-up" in out


async def test_the_server_that_was_named_is_asked(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STENOBUS_URL")
    job = await edge.create()
    assert await offered(f"stenobus job --server {edge.url} ") == [job]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
async def test_without_a_server_nothing_is_offered_and_nothing_said(url: str) -> None:
    assert await offered("stenobus job ", STENOBUS_URL=url) == []


async def test_commands_and_choices_are_offered() -> None:
    assert {"stream", "jobs", "job", "export", "rm", "tail", "doctor", "up", "dead"} <= set(await offered("stenobus "))
    assert await offered("stenobus export x --format ") == ["txt", "srt", "vtt", "json", "md"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_for_a_shell(shell: str) -> None:
    code, out, err = await run(_STENOBUS_COMPLETE=f"source_{shell}")
    assert (code, err) == (0, "")
    assert "_STENOBUS_COMPLETE" in out
    assert f"complete_{shell}" in out
