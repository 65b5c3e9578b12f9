from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time

import httpx
import psutil
import pytest

from bench.stage import Cost, Part, Stage, StageFailed, Usage, cpu_seconds, edge_part, running_stage, vad_part
from bus import connect
from bus.requests import present
from tests.support import wait_until

pytestmark = pytest.mark.slow

SERVING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def serving(group: str = "") -> Part:
    return Part("server", ["-c", SERVING, "{port}"], group=group, serves=True)


@asynccontextmanager
async def started(folder: Path, *parts: Part) -> AsyncIterator[Stage]:
    async with running_stage(folder, parts) as stage:
        yield stage


async def test_the_cost_of_each_process_is_told_apart(tmp_path: Path) -> None:
    busy = [Part(f"busy-{number}", ["-c", "while True: pass"], group="busy") for number in (1, 2)]
    async with started(tmp_path, serving(), *busy) as stage:
        before = stage.usage()
        assert before.keys() == {"nats", "redis", "server", "busy"}
        assert all(cost.kilobytes > 1_000 for cost in before.values())
        await wait_until(lambda: stage.usage().since(before)["busy"].cpu > 0.2, description="they are busy")
        after = stage.usage().since(before)
        assert after["server"].cpu < after["busy"].cpu
        assert abs(after["busy"].kilobytes) < before["busy"].kilobytes
        assert stage.cpu().keys() == before.keys()


def test_processor_time_is_that_of_the_process_with_all_its_threads() -> None:
    before = process_time()
    found = cpu_seconds([psutil.Process(), psutil.Process()])
    assert 2 * before - 0.05 <= found <= 2 * process_time() + 0.05  # where it is told in steps of 10 ms


async def test_parts_know_where_the_servers_are(tmp_path: Path) -> None:
    telling = "import os, time; print(os.environ['NATS_URL'], os.environ['MINE'], flush=True); time.sleep(60)"
    async with started(tmp_path, serving(), Part("teller", ["-c", telling], {"MINE": "{redis}"})) as stage:
        log = tmp_path / "teller.log"
        told = f"{stage.bus_url} {stage.redis.url}"
        await wait_until(lambda: log.read_text().strip() == told, description="it has told what it knows")


async def test_a_part_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = Part("broken", ["-c", "import sys; sys.exit('no room here')"], serves=True)
    with pytest.raises(StageFailed, match=r"broken has ended with 1:\nno room here"):
        async with started(tmp_path, broken):
            pass


async def test_a_part_that_dies_later_is_seen_by_who_asks(tmp_path: Path) -> None:
    async with started(tmp_path, serving()) as stage:
        await stage.children["server"].kill()
        with pytest.raises(StageFailed, match="server has ended with -9"):
            stage.cpu()


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async with started(tmp_path, serving()) as stage:
        children = list(stage.children.values())
        assert len(children) == 3
    assert all(child.returncode is not None for child in children)


def test_what_came_on_top() -> None:
    before, after = Usage(edge=Cost(1.0, 100.0)), Usage(edge=Cost(1.5, 90.0))
    assert after.since(before) == {"edge": Cost(0.5, -10.0)}


async def test_our_parts_are_ready_together(tmp_path: Path) -> None:
    async with started(tmp_path, edge_part(requires="vad"), vad_part()) as stage:
        async with httpx.AsyncClient(base_url=stage.url, trust_env=False) as http:
            checks = (await http.get("/readyz")).json()["checks"]
        assert checks == {"bus": "ok", "store": "ok", "vad": "ok"}
        async with connect(stage.bus_url) as bus:
            assert await present(bus, "vad")
        assert stage.usage().keys() == {"nats", "redis", "edge", "vad"}
