"""The command line as a whole."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from asyncio.subprocess import PIPE
from importlib.metadata import version
from pathlib import Path

from client.shell import EXIT_CODES
from tests.client.inprocess import invoke
from tests.client.process import ROOT, start
from tests.client.server import ScriptedServer

COMMANDS = (
    "stream",
    "jobs",
    "job",
    "export",
    "replay",
    "diff",
    "rm",
    "tail",
    "doctor",
    "dead list",
    "dead retry",
    "up",
)


async def test_version() -> None:
    assert await invoke("--version") == (0, f"stenobus {version('stenobus')}\n", "")


async def test_every_command_has_help_with_the_exit_codes() -> None:
    _, listed, _ = await invoke("--help")
    for command in COMMANDS:
        assert command.split()[0] in listed
        code, out, _ = await invoke(*command.split(), "--help")
        assert code == 0
        assert command == "up" or ("130 interrupted." in " ".join(out.split()) and "--json" in out)


async def test_a_missing_argument_is_exit_code_2() -> None:
    code, out, err = await invoke("job")
    assert (code, out) == (2, "")
    assert "Missing argument 'ID'" in err


def test_exit_codes_are_those_of_the_readme() -> None:
    sentence = re.search(r"Exit codes: [^.]+\.", (ROOT / "README.md").read_text())
    assert sentence is not None
    assert re.findall(r"\b\d+\b", sentence[0]) == re.findall(r"\b\d+\b", EXIT_CODES) == ["0", "1", "2", "3", "130"]


def test_what_loads_slowly_is_not_loaded_at_the_start() -> None:
    """Completion would be late. The microphone's package may be missing, too."""
    slow = {"jiwer", "nats", "sounddevice", "stenobus", "structlog"}
    code = f"import sys, client.__main__; sys.exit(' '.join({slow} & set(sys.modules)) or 0)"
    started = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (started.returncode, started.stderr) == (0, "")


async def test_a_closed_pipe_is_no_traceback(server: ScriptedServer, flac: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "client", "stream", flac, "--fast", "--json", "--server", server.url]
    process = await asyncio.create_subprocess_exec(*command, stdout=writer, stderr=PIPE, cwd=ROOT)
    os.close(writer)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


async def test_up_becomes_compose_and_passes_arguments_on(tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "__init__.py").touch()
    (tmp_path / "compose" / "__main__.py").write_text("import os, sys; print(os.getpid(), *sys.argv[1:])")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = await start("up", "--port", "0", "--only", "edge", PYTHONPATH=path, XDG_DATA_HOME="/somewhere")
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == f"{process.pid} --host 127.0.0.1 --port 0 --data /somewhere/stenobus --only edge\n"


async def test_output_that_cannot_be_written_is_told_in_one_sentence(server: ScriptedServer, flac: str) -> None:
    """As on a full disk: everything that is written to /dev/full fails with ENOSPC."""
    for arguments in (("--help",), ("stream", flac, "--fast"), ("stream", flac, "--fast", "--json")):
        with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - opening a device does not block
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "client", *arguments),
                cwd=ROOT,
                env=os.environ | {"STENOBUS_URL": server.url},
                stdout=full,
                stderr=PIPE,
            )
        _, err = await process.communicate()
        assert process.returncode == 1
        assert err == b"stenobus: the output cannot be written: no space left on device\n"
