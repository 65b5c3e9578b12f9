"""Commands where the environment, or an argument, is not what one expects."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.client.process import ROOT, run_in
from tests.client.server import ScriptedServer, record, segment

NO_HOME = "import pwd\ndef getpwuid(_user): raise KeyError\npwd.getpwuid = getpwuid\n"
"""What a container sees that runs as a user of no name: nobody knows its home."""

BROKEN = "caf\udce9"
"""An argument in Latin-1, as Python reads it where the terminal speaks UTF-8."""


@pytest.mark.parametrize(
    "environment",
    [
        {"COLUMNS": "0"},
        {"COLUMNS": "junk", "LINES": "-3"},
        {"COLUMNS": "", "TERM": ""},
        {"TERM": "junk", "TZ": "Junk/Zone"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"HOME": "/proc/none", "TMPDIR": "/proc/none", "PATH": ""},
    ],
    ids=str,
)
async def test_a_job_is_shown_all_the_same(server: ScriptedServer, environment: dict[str, str]) -> None:
    server.jobs["j1"] = record("completed", [segment(0, "Hello 회의.")], 5.96)
    code, out, err = await run_in(environment, "job", "j1", "--server", server.url)
    assert (code, err) == (0, "")
    assert out.startswith(
        ("completed, 6.0 s of audio\n00:00  Hello 회의.\n", "completed, 6.0 s of audio\n00:00  Hello ??.\n")
    )
    assert "Stand-up" in out


async def test_a_user_without_a_home(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_HOME)
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "__init__.py").touch()
    (tmp_path / "compose" / "__main__.py").write_text("import sys; print(*sys.argv[1:])")
    nobody = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    homeless = ["env", "-u", "HOME", "-u", "XDG_DATA_HOME", "-u", "XDG_CACHE_HOME", "-u", "STENOBUS_CACHE"]
    code, out, err = await run_in(nobody, "up", before=homeless)
    assert (code, out, err) == (0, "--host 127.0.0.1 --port 8000 --data data\n", "")
    code, out, err = await run_in(nobody, "tail", "--no-follow", "--kinds", "completed", before=homeless)
    assert (code, out) == (3, "")
    assert err.startswith("stenobus: cannot reach NATS at nats://127.0.0.1:4222: ")
    code, out, err = await run_in(nobody, "probe", before=[*homeless, "STT_MODEL=small"], module="processors.stt")
    assert (code, json.loads(out)["folder"]) == (0, None), err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("jobs", 3), ("stream -", 2)])
async def test_standard_streams_may_be_closed(closed_port: int, closed: str, command: str, code: int) -> None:
    shell = ["bash", "-c", f'exec "$@" {closed}', "bash"]
    server = f"http://127.0.0.1:{closed_port}"
    found, out, err = await run_in({}, *command.split(), "--server", server, before=shell)
    assert (found, out) == (code, "")
    assert err.count("\n") == ("2>" not in closed)


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "-q", BROKEN),
        ("job", BROKEN),
        ("export", BROKEN),
        ("replay", "j1", "--model", BROKEN),
        ("dead", "retry", BROKEN, "EVENTS", "1"),
        ("rm", "--yes", BROKEN),
        ("stream", "FLAC", "--title", BROKEN),
        ("stream", "FLAC", "--fast", "--prompt", BROKEN),
    ],
    ids=str,
)
async def test_text_that_is_not_utf_8_is_refused(server: ScriptedServer, flac: str, arguments: tuple[str, ...]) -> None:
    command = [flac if argument == "FLAC" else argument for argument in arguments]
    code, out, err = await run_in({"STENOBUS_URL": server.url}, *command)
    assert (code, out, err) == (2, "", "stenobus: 'caf\\udce9' is not UTF-8, so it cannot be sent\n")


async def test_names_of_files_need_not_be_utf_8(server: ScriptedServer, flac: str, tmp_path: Path) -> None:
    there = tmp_path / f"{BROKEN}.flac"
    os.link(flac, there)
    code, out, err = await run_in({}, "stream", str(there), "--fast", "--server", server.url)
    assert (code, err) == (0, "")
    assert "Stand-up" in out
    code, out, err = await run_in({}, "stream", str(tmp_path / f"{BROKEN}.wav"), "--server", server.url)
    assert (code, out, err) == (2, "", f"stenobus: {tmp_path}/caf?.wav: no such file\n")
