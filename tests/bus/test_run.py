from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from compose.ports import free_port
from compose.servers import Server

Start = Callable[..., Coroutine[Any, Any, Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts `tests.bus.part` with an environment of its own; kills what is left at the end."""
    started: list[Process] = []

    async def part(**env: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bus.part", env={**os.environ, **env}, stdout=PIPE, stderr=PIPE
        )
        started.append(process)
        return process

    yield part
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: Process) -> str:
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_process_gracefully(start: Start, nats_url: str, sig: signal.Signals) -> None:
    process = await start(NATS_URL=nats_url, PART_SIZE="2")
    assert await first_line(process) == "working size=2 connected=True"
    process.send_signal(sig)
    out, _ = await process.communicate()
    assert (out, process.returncode) == (b"stopped\n", 0)


async def test_a_bad_setting_stops_the_start_with_one_sentence(start: Start, nats_url: str) -> None:
    process = await start(NATS_URL=nats_url, PART_SIZE="7")
    _, err = await process.communicate()
    assert err.decode() == "part cannot start: PART_SIZE='7': Input should be less than or equal to 3\n"
    assert process.returncode == 2


async def test_shared_settings_are_checked_too(start: Start, nats_url: str) -> None:
    process = await start(NATS_URL=nats_url, LOG_LEVEL="LOUD")
    _, err = await process.communicate()
    assert err.decode().startswith("part cannot start: LOG_LEVEL='LOUD': String should match pattern")
    assert err.count(b"\n") == 1


async def test_a_start_error_is_printed_in_one_sentence(start: Start, nats_url: str) -> None:
    process = await start(NATS_URL=nats_url, PART_FAIL="start", LOG_LEVEL="WARNING")
    _, err = await process.communicate()
    assert err.decode() == "part cannot start: the thing is missing: put it there\n"
    assert process.returncode == 2


@pytest.mark.parametrize(("fail", "reason"), [("later", "RuntimeError: broken"), ("background", "AttributeError: ")])
async def test_a_failure_is_logged_and_ends_the_process(start: Start, nats_url: str, fail: str, reason: str) -> None:
    process = await start(NATS_URL=nats_url, PART_FAIL=fail)
    _, err = await process.communicate()
    logged = json.loads(err.splitlines()[-1])
    assert logged["event"] == "process failed"
    assert reason in logged["exception"]
    assert process.returncode == 1


async def test_a_process_waits_for_its_server(start: Start, nats_server: Server) -> None:
    await nats_server.kill()
    process = await start(NATS_URL=nats_server.url)
    assert process.stderr
    told = json.loads(await process.stderr.readline())
    assert told["event"] == "waiting for the bus"
    assert nats_server.url in told["reason"]
    await nats_server.start()
    assert await first_line(process) == "working size=1 connected=True"


async def test_a_waiting_process_can_be_stopped(start: Start) -> None:
    process = await start(NATS_URL=f"nats://127.0.0.1:{free_port('127.0.0.1')}")
    assert process.stderr
    await process.stderr.readline()
    process.terminate()
    out, _ = await process.communicate()
    assert (out, process.returncode) == (b"", 0)
