"""The command itself, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from starlette.responses import JSONResponse

from audio import write_flac
from client.shell import EXIT_CODES
from tests.client.inprocess import invoke
from tests.client.server import SUMMARY, ScriptedServer, meeting, segment
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
SECOND = bytes(range(256)) * 125


STARTED: list[Process] = []
"""Of these none is left when its test has ended, however it did: conftest.py sees to it."""


async def start(*args: str, **environment: str) -> Process:
    environ = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"} | environment
    command = [sys.executable, "-m", "client", *args]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env=environ
    )
    STARTED.append(process)
    return process


async def run(*args: str, stdin: bytes = b"", **environment: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of the command."""
    return await run_in(environment, *args, stdin=stdin)


async def run_in(environment: Mapping[str, str], *args: str, stdin: bytes = b"") -> tuple[int | None, str, str]:
    """As `run`."""
    process = await start(*args, **environment)
    out, err = await process.communicate(stdin)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def flac(tmp_path: Path) -> str:
    write_flac(tmp_path / "meeting.flac", SECOND)
    return str(tmp_path / "meeting.flac")


async def test_stream_shows_the_transcript_in_order_and_the_summary(server: ScriptedServer, flac: str) -> None:
    code, out, err = await run("stream", flac, "--fast", "--title", "Stand-up", STENOBUS_URL=server.url)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["00:00  Good morning.", "00:04  다음 회의는 금요일입니다."]
    assert lines[-1] == "2 segments, 1.0 s of sound, job j1"
    assert "- Anna: write the notes (due Thursday)" in lines
    assert server.created == [{"title": "Stand-up", "task": "transcribe", "summary": True}]
    assert server.sound == SECOND


async def test_json_is_one_line_for_each_message_and_nothing_else(server: ScriptedServer) -> None:
    arguments = ("-", "--raw", "--fast", "--json", "--no-summary", "--language", "ko", "--frame-ms", "100")
    code, out, err = await run("stream", *arguments, "--server", server.url, stdin=SECOND, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    messages = [json.loads(line) for line in out.splitlines()]
    assert messages[0] == {"type": "connection_success", "job_id": "j1", "next_sample": 0}
    assert messages[4]["text"] == "다음 회의는 금요일입니다."
    assert messages[-1] == {"type": "final_summary", "job_id": "j1", "summary": SUMMARY, "transcript": "all of it"}
    assert len(messages) == 7
    assert server.created == [{"language": "ko", "task": "transcribe", "summary": False}]
    assert [len(frame) for frame in server.frames] == [3_200] * 10


async def test_stdin_is_decoded(server: ScriptedServer, flac: str) -> None:
    file = await asyncio.to_thread(Path(flac).read_bytes)
    code, _, err = await run("stream", "-", "--fast", "--server", server.url, stdin=file)
    assert (code, err, server.sound) == (0, "", SECOND)


async def test_damage_is_told(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "meeting.flac"
    write_flac(path, np.random.default_rng(1).bytes(320_000))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = bytes(20_000)
    path.write_bytes(data)
    code, _, err = await run("stream", str(path), "--fast", "--server", server.url)
    assert code == 0
    sentence = r"incomplete: 0\.\d s are missing at 00:04; silence stands in for them"
    assert re.fullmatch(rf"stenobus: {path}: {sentence}\n", err)
    assert len(server.sound) == 320_000


async def test_a_refusal_is_one_sentence_and_exit_code_1(server: ScriptedServer, flac: str) -> None:
    problem = {"title": "Full", "detail": "no room for more audio", "retry_after": 7}
    server.refusal = JSONResponse(problem, status_code=503, media_type="application/problem+json")
    code, out, err = await run("stream", flac, "--server", server.url)
    assert (code, out) == (1, "")
    assert err == "stenobus: the server answered 503: Full: no room for more audio; try again in 7 s\n"


async def test_an_early_end_names_the_job(server: ScriptedServer, flac: str) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.say(**segment(1, "held back"))
        await server.say(type="error", code="internal", message="the bus is gone")
        await server.websocket.close(1008)

    server.script = script
    code, out, err = await run("stream", flac, "--server", server.url)
    assert (code, out) == (1, "00:02  held back\n")
    assert err.splitlines() == [
        f"stenobus: what became of the job: stenobus job j1 --server {server.url}",
        "stenobus: the server ended the capture: the bus is gone (closed with 1008, protocol error)",
    ]


async def breaks_once(server: ScriptedServer) -> None:
    if server.connections == 1:
        await server.hello()
        await server.take(0.5)
        await server.say(**segment(0, "Good morning."))
        await server.websocket.close(1012)
        return
    await meeting(server)


async def test_a_connection_that_breaks_is_told_and_no_word_twice(server: ScriptedServer, flac: str) -> None:
    server.script = breaks_once
    code, out, err = await run("stream", flac, "--fast", "--server", server.url)
    reason = "the capture ended before its summary (closed with 1012, the server is restarting)"
    assert (code, err) == (0, f"stenobus: reconnecting: {reason}\n")
    assert out.splitlines()[:2] == ["00:00  Good morning.", "00:04  다음 회의는 금요일입니다."]
    assert server.sound == SECOND


async def test_json_on_stdout_is_only_of_the_server(server: ScriptedServer, flac: str) -> None:
    server.script = breaks_once
    code, out, err = await run("stream", flac, "--fast", "--json", "--server", server.url)
    assert code == 0
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert kinds[:3] == ["connection_success", "transcript_segment", "connection_success"]
    assert kinds.count("transcript_segment") == 3
    told = json.loads(err)
    assert (told["type"], told["job_id"], told["attempt"]) == ("reconnecting", "j1", 1)
    assert 0 < told["kept"] <= 1
    assert "closed with 1012" in told["reason"]


@pytest.mark.parametrize("between", [" ", ",", " , "])
async def test_several_servers(server: ScriptedServer, flac: str, unused_tcp_port: int, between: str) -> None:
    servers = [f"http://127.0.0.1:{unused_tcp_port}", server.url]
    assert (await run("stream", flac, "--fast", STENOBUS_URL=between.join(servers)))[0] == 0
    server.jobs["j1"] = {"state": "completed"}
    assert await run("job", "j1", *(f"--server={url}" for url in servers)) == (0, "completed\n", "")


async def test_giving_up_is_exit_code_3_and_names_the_job(server: ScriptedServer, flac: str) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        server.abort()

    server.script = script
    code, _, err = await run("stream", flac, "--server", server.url, "--give-up-after", "0")
    assert code == 3
    assert err.splitlines()[-1].startswith("stenobus: gave up on job j1 after 0 s: ")


async def test_nobody_there_is_exit_code_3(flac: str, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    for command in (["stream", flac], ["job", "j1"]):
        assert await run(*command, "--server", url) == (3, "", f"stenobus: cannot reach {url}: connection refused\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["stream", "nowhere.wav"], "stenobus: nowhere.wav: no such file\n"),
        (["stream", "pyproject.toml"], "stenobus: pyproject.toml: no audio stream\n"),
        (["stream", "-", "--server", "localhost:8000"], "is not an address like http://HOST:PORT"),
        (["stream", "-", "--frame-ms", "5"], "Invalid value for '--frame-ms'"),
        (["job"], "Missing argument 'ID'"),
        (["stream"], "name a FILE, - for stdin, or give --mic"),
        (["stream", "talk.wav", "--mic"], "give a FILE or --mic, not both"),
        (["stream", "--mic", "--fast"], "--fast and --raw are for files"),
        (["stream", "talk.wav", "--device", "1"], "it names a microphone: give --mic too"),
    ],
)
async def test_wrong_usage_is_exit_code_2(arguments: list[str], sentence: str) -> None:
    code, out, err = await run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


async def test_ctrl_c_ends_the_sound_and_waits_for_the_rest(server: ScriptedServer) -> None:
    process = await start("stream", "-", "--raw", "--server", server.url)
    assert process.stdin is not None
    process.stdin.write(SECOND)  # and stays open, as a microphone does
    await wait_until(lambda: server.frames, description="sound arrives")
    process.send_signal(signal.SIGINT)
    await wait_until(lambda: server.commands == ["stop"], description="the client says stop")
    out, err = await process.communicate()
    assert process.returncode == 0
    assert b"Good morning." in out
    assert err == b"stenobus: no more sound; waiting for the rest (Ctrl-C again to leave)\n"


async def test_ctrl_c_before_any_sound_leaves(server: ScriptedServer) -> None:
    server.answering.clear()
    process = await start("stream", "-", "--raw", "--server", server.url)
    assert process.stdin is not None
    process.stdin.write(SECOND)
    await wait_until(lambda: server.created, description="the client asks for a job")
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130
    assert process.stderr is not None
    assert await process.stderr.read() == b"stenobus: interrupted\n"


async def test_a_second_ctrl_c_leaves(server: ScriptedServer) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen()
        await server.listen()

    server.script = script
    process = await start("stream", "-", "--raw", "--server", server.url)
    assert process.stdin is not None
    process.stdin.write(SECOND)
    await wait_until(lambda: server.frames, description="sound arrives")
    process.send_signal(signal.SIGINT)
    await wait_until(lambda: server.commands == ["stop"], description="the client says stop")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode().splitlines()[1:] == [
        f"stenobus: what became of the job: stenobus job j1 --server {server.url}",
        "stenobus: interrupted",
    ]
    assert server.close_code == 1000


async def test_a_reader_that_has_enough_is_no_traceback(server: ScriptedServer, flac: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "client", "stream", flac, "--fast", "--json", "--server", server.url]
    process = await asyncio.create_subprocess_exec(*command, stdout=writer, stderr=PIPE, cwd=ROOT)
    os.close(writer)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


async def test_job(server: ScriptedServer) -> None:
    server.jobs["j1"] = {
        "job_id": "j1",
        "state": "completed",
        "segments": [segment(0, "안녕하세요.")],
        "summary": SUMMARY,
    }
    code, out, err = await run("job", "j1", "--server", server.url)
    assert (code, err) == (0, "")
    assert out.startswith("completed\n00:00  안녕하세요.\n\nStand-up\n")
    code, out, err = await run("job", "j1", "--json", "--server", server.url)
    assert (code, json.loads(out), out.count("\n")) == (0, server.jobs["j1"], 1)


async def test_an_unknown_job_is_exit_code_1(server: ScriptedServer) -> None:
    expected = (1, "", "stenobus: the server answered 404: Not Found: no job j2\n")
    assert await run("job", "j2", "--server", server.url) == expected


async def test_up_becomes_compose_and_passes_arguments_on(tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "__init__.py").touch()
    (tmp_path / "compose" / "__main__.py").write_text("import os, sys; print(os.getpid(), *sys.argv[1:])")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = await start("up", "--port", "0", "--only", "edge", PYTHONPATH=path, XDG_DATA_HOME="/somewhere")
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == f"{process.pid} --host 127.0.0.1 --port 0 --data /somewhere/stenobus --only edge\n"


COMMANDS = ("stream", "jobs", "job", "export", "rm", "tail", "doctor", "dead list", "dead retry", "up")


async def test_version_and_exit_codes_in_help() -> None:
    assert await run("--version") == (0, f"stenobus {version('stenobus')}\n", "")
    for command in COMMANDS:
        code, out, _ = await invoke(*command.split(), "--help")
        assert code == 0
        assert (
            "3 the server, or the bus, cannot be reached; 130 interrupted." in " ".join(out.split()) or command == "up"
        )
        assert "--json" in out or command == "up"


def test_exit_codes_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    told = re.findall(r"^\| (\d+) \| (.+) \|$", readme.partition("| exit code |")[2], re.MULTILINE)
    assert f"Exit codes: {'; '.join(' '.join(each) for each in told)}." == EXIT_CODES
