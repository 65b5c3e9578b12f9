"""The reader in examples/javascript, run by Node.js against a real bus."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from compose.servers import Server
from contract import Completed, Opened, Transcript
from contract.audio import AudioFrame, audio_subject, encode_audio

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript"
HOW = "Node.js 20 or newer with npm is needed: `./justw install` brings it, or https://nodejs.org/en/download"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing. {HOW}", pytrace=False)
    return found


def node() -> str:
    """The program itself: `node` may be a script that starts it and catches its signals."""
    argv = [program("node"), "-p", "process.execPath"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with its dependencies, as its lock file names them."""
    version = subprocess.run([program("node"), "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").split(".")[0]) < 20:
        pytest.fail(f"Node.js {version.strip()} is too old. {HOW}", pytrace=False)
    folder = tmp_path_factory.mktemp("javascript") / "reader"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    argv = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    assert installed.returncode == 0, f"npm ci failed:\n{installed.stderr}"
    return folder


class Reader:
    """A running `node read.mjs --json`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout
        async with asyncio.timeout(60):
            text = await self.process.stdout.readline()
        assert text, (await self.process.communicate())[1].decode()
        found: dict[str, Any] = json.loads(text)
        return found

    async def lines(self, count: int) -> list[dict[str, Any]]:
        return [await self.line() for _ in range(count)]

    async def rest(self) -> tuple[list[dict[str, Any]], str, int | None]:
        """The rest of its output, its errors, and its exit status."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate()
        return [json.loads(text) for text in out.splitlines()], err.decode(), self.process.returncode


@asynccontextmanager
async def reading(example: Path, *options: str) -> AsyncIterator[Reader]:
    argv = [node(), "read.mjs", "--json", *options]
    process = await asyncio.create_subprocess_exec(*argv, cwd=example, stdout=-1, stderr=-1)
    try:
        yield Reader(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def said(job: str, index: int, text: str = "예산은 그대로입니다.", **fields: Any) -> Transcript:
    return Transcript(job=job, index=index, start=index * 32_000, end=index * 32_000 + 24_000, text=text, **fields)


async def test_a_meeting_in_progress_is_read_once_and_whole(
    example: Path, bus: Bus, nats_server: Server, nats_url: str
) -> None:
    await bus.publish(Opened(job="m1"))
    for index in (0, 2, 1):
        await bus.publish(said("m1", index))
    await bus.publish(said("m2", 0))
    async with reading(example, "--server", nats_url, "--job", "m1") as reader:
        history = await reader.lines(3)
        assert history[0] == {
            "type": "transcript",
            "seq": 2,
            "job": "m1",
            "generation": 1,
            "index": 0,
            "start": 0,
            "end": 1.5,
            "text": "예산은 그대로입니다.",
            "language": None,
            "error": None,
        }
        for index in range(3, 20):
            await bus.publish(said("m1", index))
        live = await reader.lines(17)
        await nats_server.kill()
        await nats_server.start()
        for index in range(20, 40):
            await bus.publish(said("m1", index))
        await bus.publish(said("m1", 40, "", error="out of memory"))
        await bus.publish(Completed(job="m1", segments=41, samples=2_000_000))
        rest, errors, status = await reader.rest()
    found = history + live + rest
    assert [line["index"] for line in found] == [0, 2, 1, *range(3, 41)]
    assert [line["seq"] for line in found] == sorted({line["seq"] for line in found})
    assert {line["job"] for line in found} == {"m1"}
    assert (found[-1]["text"], found[-1]["error"]) == ("", "out of memory")
    assert (errors, status) == ("", 0)


async def test_all_jobs_and_their_audio(example: Path, bus: Bus, nats_url: str) -> None:
    frames = {
        "m1": [AudioFrame(0, b"\x01\x02" * 480), AudioFrame(2**40, b"\x01\x02", generation=3)],
        "m2": [AudioFrame(480, b"", cut=True), AudioFrame(480, b"", last=True)],
    }
    for job in frames:
        await bus.publish(said(job, 0))
        for frame in frames[job]:
            await bus.store(audio_subject(job), encode_audio(frame))
    await bus.store(audio_subject("m1"), b"\x01garbage")
    await bus.connection.js.publish("events.m1.transcript.1.9", b"\xc1")
    async with reading(example, "--server", nats_url, "--audio") as reader:
        found = await reader.lines(6)
        await bus.publish(said("m3", 0))
        found.append(await reader.line())
        reader.process.send_signal(signal.SIGINT)
        rest, errors, status = await reader.rest()
    assert [line["job"] for line in found if line["type"] == "transcript"] == ["m1", "m2", "m3"]
    heard = [line for line in found if line["type"] == "audio"]
    assert [(line["job"], line["start"] * 16_000, line["samples"], line["generation"]) for line in heard] == [
        (job, frame.start, len(frame.pcm) // 2, frame.generation) for job in frames for frame in frames[job]
    ]
    assert [(line["cut"], line["last"]) for line in heard] == [(False, False)] * 2 + [(True, False), (False, True)]
    assert (rest, status) == ([], 0)
    assert re.search(r"^audio\.m1 \d+: not an audio frame: 8 bytes$", errors, re.MULTILINE)
    assert re.search(r"^events\.m1\.transcript\.1\.9 \d+: ", errors, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--jobs", "m1"], "Unknown option '--jobs'"),
        (["--job", "two tokens"], "--job two tokens: 1 to 64 letters, digits, _ or - are accepted"),
    ],
)
async def test_wrong_usage(example: Path, options: list[str], says: str) -> None:
    async with reading(example, *options) as reader:
        lines, errors, status = await reader.rest()
    assert (lines, status) == ([], 2)
    assert says in errors
    assert "usage: node read.mjs" in errors


async def test_an_unreachable_bus(example: Path) -> None:
    with socket.socket() as bound:  # nobody listens there, and nobody else can
        bound.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{bound.getsockname()[1]}"
        async with reading(example, "--server", url) as reader:
            lines, errors, status = await reader.rest()
    assert (lines, status) == ([], 1)
    assert f"cannot read from {url}: " in errors
    assert "usage" not in errors


def test_without_node_the_tests_fail_and_say_what_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match=r"node is missing\. Node\.js 20 or newer with npm is needed"):
        program("node")


def test_the_lock_file_names_versions_and_no_registry() -> None:
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    wanted = json.loads((EXAMPLE / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    for path, package in lock["packages"].items():
        assert "resolved" not in package
        assert not path or package["integrity"].startswith("sha512-")
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
