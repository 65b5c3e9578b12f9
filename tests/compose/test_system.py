"""The parts, when they are started again, and when the system is ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from compose.ports import free_port
from compose.system import Backoff, Process, discover, missing, processes, wait_ready
from tests.support import wait_until

ROOT = Path(__file__).parents[2]


def test_parts_are_found_by_their_folder_and_not_imported(tmp_path: Path) -> None:
    for name in ("translate", "diarize"):
        plant(tmp_path / "processors" / name / "__main__.py", "raise AssertionError('imported')")
        plant(tmp_path / "processors" / name / "__init__.py", "raise AssertionError('imported')")
    plant(tmp_path / "processors" / "helpers" / "__init__.py")
    plant(tmp_path / "processors" / "not_a_package" / "__main__.py")
    plant(tmp_path / "processors" / "module.py")
    plant(tmp_path / "processors" / "__init__.py")
    assert discover(tmp_path) == ["edge", "processors.diarize", "processors.translate"]
    assert not [name for name in sys.modules if "diarize" in name]


def test_our_own_parts_are_found() -> None:
    assert discover(ROOT)[0] == "edge"
    assert {"processors.stt", "processors.summary", "processors.vad"} <= set(discover(ROOT))


def test_the_edge_has_as_many_processes_as_asked_for_and_speech_one_for_each_gpu() -> None:
    edge, vad, speech = Process("edge"), Process("processors.vad"), Process("processors.stt")
    assert processes(["edge", "processors.vad"], 1, 4) == {"edge": edge, "processors.vad": vad}
    assert processes(["edge", "processors.stt"], 3, 1) == {
        "edge": edge,
        "processors.stt": speech,
        "edge-2": edge,
        "edge-3": edge,
    }
    assert processes(["processors.stt", "processors.vad"], 1, 2) == {
        "processors.stt": Process("processors.stt", {"STT_DEVICE_INDEX": "0"}),
        "processors.stt-2": Process("processors.stt", {"STT_DEVICE_INDEX": "1"}),
        "processors.vad": vad,
    }


def plant(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.25, longest=3)
    assert [backoff.pause(failures) for failures in range(1, 7)] == [0.25, 0.5, 1, 2, 3, 3]
    assert backoff.pause(100_000) == 3


def test_failures_count_up_until_a_run_is_healthy() -> None:
    backoff = Backoff(healthy=60)
    assert backoff.failures(0, ran=0.1) == 1
    assert backoff.failures(4, ran=59.9) == 5
    assert backoff.failures(4, ran=60) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"status": "waiting", "checks": {"bus": "ok", "stt": "no worker answers"}}', "stt (no worker answers)"),
        ('{"checks": {"bus": "away", "store": "away"}}', "bus (away), store (away)"),
        ("Service Unavailable", "Service Unavailable"),
        ('{"detail": "no checks"}', '{"detail": "no checks"}'),
        ('{"checks": ["stt"]}', '{"checks": ["stt"]}'),
        ("[]", "[]"),
    ],
)
def test_what_is_missing_in_words(answer: str, words: str) -> None:
    assert missing(answer) == words


@asynccontextmanager
async def answering(answers: Iterator[str], port: int = 0) -> AsyncIterator[int]:
    """A web server that gives one answer after the other; gives its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /readyz HTTP/1.1\r\n")
        writer.write(f"HTTP/1.1 {next(answers)}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        yield server.sockets[0].getsockname()[1]


async def test_says_what_is_missing_until_200() -> None:
    said: list[str] = []
    answers = iter(["503 No\r\n\r\nno stt\r\n", "503 No\r\n\r\n", "200 OK\r\n\r\nyes"])
    async with answering(answers) as port:
        await wait_ready("127.0.0.1", port, said.append, every=0)
    assert said == ["not ready yet: no stt", "not ready yet: HTTP 503"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_waits_for_an_edge_that_does_not_listen_yet(host: str) -> None:
    said: list[str] = []
    port = free_port()
    waiting = asyncio.create_task(wait_ready(host, port, said.append, every=0))
    await wait_until(lambda: said, description="it says that the edge is missing")
    assert said[0].startswith("not ready yet: the edge does not answer (")
    async with answering(iter(["200 OK\r\n\r\n"]), port):
        await waiting


async def test_is_quiet_at_first() -> None:
    said: list[str] = []
    async with answering(iter(["503 No\r\n\r\n", "garbage\r\n\r\n", "200 OK\r\n\r\n"])) as port:
        await wait_ready("127.0.0.1", port, said.append)
    assert said == []


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with answering(iter(["200 OK\r\n\r\n"])) as port:
        await wait_ready("127.0.0.1", port, print)
