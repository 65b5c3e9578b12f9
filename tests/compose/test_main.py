"""`python -m compose` as a person runs it, with throw-away parts around it instead of ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from tests.support import wait_until

ROOT = Path(__file__).parents[2]

EDGE = """
import http.server, os, pathlib, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if pathlib.Path(os.environ["HERE"], "up").exists() else 503)
        self.end_headers()

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Server(http.server.HTTPServer):
    allow_reuse_port = os.environ.get("EDGE_REUSE_PORT") == "1"

Server((os.environ["EDGE_HOST"], int(os.environ["EDGE_PORT"])), Handler).serve_forever()
"""

WORKER = """
import json, os, pathlib, signal, socket, sys

here = pathlib.Path(os.environ["HERE"])

def redis(line):
    port = int(os.environ["STORE_URL"].rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(line.encode() + b"\\r\\n")
        return sock.makefile().readline().strip()

def stop(*_):
    print("on stopping the store said", redis("PING"))
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
print("starts so far", redis("INCR starts"))
(here / "environment").write_text(json.dumps(dict(os.environ)))
(here / "up").touch()
while True:
    signal.pause()
"""

PICKY = """
import sys
print("trying")
print("picky: X=1 is wrong", file=sys.stderr)
sys.exit(2)
"""

LATE = """
import os, pathlib, sys, time
while not pathlib.Path(os.environ["HERE"], "now").exists():
    time.sleep(0.01)
sys.exit(2)
"""


class Composed:
    """A running `python -m compose`."""

    def __init__(self, process: asyncio.subprocess.Process, here: Path) -> None:
        self.process = process
        self.stderr = here / "stderr"
        self.logs = here / "my data" / "logs"

    async def line(self) -> str:
        """Return the next line of its stdout."""
        assert self.process.stdout
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode()

    async def ready(self) -> str:
        """Return the URL that it gives."""
        line = await self.line()
        assert line.startswith("ready http://127.0.0.1:"), line + self.stderr.read_text()
        return line.removeprefix("ready ").strip()

    def processes(self) -> list[psutil.Process]:
        """Return all that it has started."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if (words := child.cmdline()) and not any(word.endswith("guard.py") for word in words):
                    found.append(child)
        return found

    def children(self) -> dict[str, psutil.Process]:
        """Return the servers by program name and the parts by module name."""
        found = {}
        for child in self.processes():
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                found[words[-1] if "-m" in words else child.name()] = child
        return found

    def has_new(self, name: str, old: psutil.Process) -> bool:
        """Whether another process than `old` runs as `name` now."""
        return self.children().get(name, old) != old

    async def ended(self) -> int:
        """Return its exit status once it has ended."""
        return await self.process.wait()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return await self.ended()


Launch = Callable[..., Awaitable[Composed]]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a copy of compose, an edge and a worker that the edge waits for."""
    here = tmp_path / "the system"
    shutil.copytree(ROOT / "compose", here / "compose", ignore=shutil.ignore_patterns("__pycache__"))
    plant(here, "edge", EDGE)
    plant(here, "processors.worker", WORKER)
    (here / "processors" / "__init__.py").touch()  # else a `processors` that is installed comes first
    return here


@pytest.fixture
async def launch(here: Path) -> AsyncIterator[Launch]:
    running: list[asyncio.subprocess.Process] = []

    async def launch(*more: str, **env: str) -> Composed:
        argv = [sys.executable, "-m", "compose", "--port", "0", "--data", "my data", *more]
        with (here / "stderr").open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *argv, cwd=here, env=os.environ | {"HERE": str(here)} | env, stdout=-1, stderr=stderr
            )
        running.append(process)
        return Composed(process, here)

    yield launch
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def plant(here: Path, name: str, text: str) -> None:
    folder = here.joinpath(*name.split("."))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__main__.py").write_text(text)
    (folder / "__init__.py").touch()


async def test_stdout_is_one_line_and_the_parts_get_their_environment(launch: Launch, here: Path) -> None:
    composed = await launch(STT_MODEL="some model")
    url = await composed.ready()
    given = json.loads((here / "environment").read_text())
    assert url == f"http://{given['EDGE_HOST']}:{given['EDGE_PORT']}"
    assert given["NATS_URL"].startswith("nats://127.0.0.1:")
    assert given["STT_MODEL"] == "some model"
    assert given["CUDA_CACHE_PATH"] == str(here / "my data" / "cuda")
    assert "EDGE_REUSE_PORT" not in given, "one edge shares nothing"
    assert set(composed.children()) == {"nats-server", "redis-server", "edge", "processors.worker"}
    assert await composed.stop() == 0
    assert await composed.line() == ""


SPEECH = """
import json, os, pathlib, sys, time
if sys.argv[1:] == ["probe"]:
    print(json.dumps(json.loads(os.environ["PROBED"])))
    sys.exit()
index = os.environ.get("STT_DEVICE_INDEX", "none")
pathlib.Path(os.environ["HERE"], f"gpu-{index}").touch()
time.sleep(3600)
"""


@pytest.mark.parametrize(
    ("env", "indices"),
    [
        ({"PROBED": '{"device": "cuda", "gpus": 2}'}, ["gpu-0", "gpu-1"]),
        ({"PROBED": '{"device": "cuda", "gpus": 1}'}, ["gpu-none"]),
        ({"PROBED": '{"device": "cpu", "gpus": 2}'}, ["gpu-none"]),
        ({"PROBED": '{"error": "STT_MODEL is wrong"}'}, ["gpu-none"]),
        ({"PROBED": '{"device": "cuda", "gpus": 2}', "STT_DEVICE_INDEX": "1"}, ["gpu-1"]),
    ],
)
async def test_each_gpu_has_a_speech_worker(
    launch: Launch, here: Path, env: dict[str, str], indices: list[str]
) -> None:
    plant(here, "processors.stt", SPEECH)
    driver = here / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh")
    driver.chmod(0o755)
    composed = await launch(PATH=f"{driver.parent}:{os.environ['PATH']}", **env)
    await composed.ready()

    def running() -> list[str]:
        return sorted(path.name for path in here.glob("gpu-*"))

    await wait_until(lambda: len(running()) >= len(indices), description="they run")
    assert running() == indices
    assert sum("processors.stt" in child.cmdline() for child in composed.processes()) == len(indices)
    assert await composed.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_signal_stops_parts_before_servers(launch: Launch, number: int) -> None:
    composed = await launch()
    await composed.ready()
    children = composed.children()
    assert await composed.stop(number) == 0
    assert not [name for name, child in children.items() if child.is_running()]
    log = (composed.logs / "processors.worker.log").read_text()
    assert log == "starts so far :1\non stopping the store said +PONG\n"
    assert composed.stderr.read_text().endswith(f"\ncompose: stopping ({signal.Signals(number).name})\n")


async def test_a_signal_before_it_is_ready_stops_it_too(launch: Launch, here: Path) -> None:
    plant(here, "processors.worker", "import signal; signal.pause()")
    composed = await launch()
    await wait_until(lambda: len(composed.children()) == 4, description="all processes run")
    children = composed.children()
    assert await composed.stop() == 0
    assert not [name for name, child in children.items() if child.is_running()]
    assert await composed.line() == ""


async def test_sigkill_leaves_no_process_behind_and_the_data_whole(launch: Launch) -> None:
    composed = await launch()
    await composed.ready()
    children = composed.children()
    assert await composed.stop(signal.SIGKILL) == -signal.SIGKILL
    for name, child in children.items():
        await wait_until(lambda child=child: not alive(child), description=f"{name} is gone")
    again = await launch()
    await again.ready()
    assert (again.logs / "processors.worker.log").read_text() == "starts so far :1\nstarts so far :2\n"


def alive(process: psutil.Process) -> bool:
    """Whether it still runs: an orphan's body may lie around for as long as its new parent likes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("name", ["edge", "nats-server"])
async def test_whatever_dies_is_started_again(launch: Launch, name: str) -> None:
    composed = await launch()
    await composed.ready()
    old = composed.children()[name]
    old.kill()
    await wait_until(lambda: composed.has_new(name, old), description=f"another {name} runs")
    said = f"compose: {name} was ended by a signal ({signal.strsignal(signal.SIGKILL)}), starts again in 0.25 s"
    assert said in composed.stderr.read_text()
    assert await composed.stop() == 0


async def test_a_server_comes_back_on_its_port_with_its_data(launch: Launch) -> None:
    composed = await launch()
    await composed.ready()
    log = composed.logs / "processors.worker.log"
    for name in ("redis-server", "processors.worker"):
        old = composed.children()[name]
        old.kill()
        await wait_until(lambda name=name, old=old: composed.has_new(name, old), description=f"another {name} runs")
    await wait_until(
        lambda: "starts so far :2" in log.read_text(), description="a worker found what the first one wrote"
    )


async def test_a_part_that_cannot_start_stops_everything(launch: Launch, here: Path) -> None:
    shutil.rmtree(here / "processors" / "worker")  # else the system may be ready before the part has said it
    plant(
        here,
        "processors.picky",
        "import sys; print('trying'); print('picky: X=1 is wrong', file=sys.stderr); sys.exit(2)",
    )
    composed = await launch()
    assert await composed.ended() == 2
    assert composed.stderr.read_text().endswith("\ncompose: processors.picky: picky: X=1 is wrong\n")
    assert await composed.line() == ""


async def test_once_ready_no_part_stops_everything(launch: Launch, here: Path) -> None:
    plant(here, "processors.late", LATE)
    composed = await launch()
    await composed.ready()
    (here / "now").touch()
    said = "processors.late ended with status 2, starts again in 0.5 s"
    await wait_until(lambda: said in composed.stderr.read_text(), description="its second failure")
    assert await composed.stop() == 0


async def test_a_second_one_on_the_same_data_is_refused(launch: Launch) -> None:
    first = await launch()
    await first.ready()
    second = await launch()
    assert await second.ended() == 2
    assert f"compose: my data is in use by another compose (process {first.process.pid}," in second.stderr.read_text()
    holders = {name for name, child in first.children().items() if "compose.lock" in str(child.open_files())}
    assert holders == {"nats-server", "redis-server"}, "so that the lock outlives a compose whose servers do"
    assert await first.stop() == 0


async def test_a_port_in_use_is_refused(launch: Launch) -> None:
    # Whoever shares it with anybody else does not share it with us.
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as sock:
        port = sock.getsockname()[1]
        composed = await launch("--workers", "2", "--port", str(port))
        assert await composed.ended() == 2
    said = f"compose: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --port "
    assert composed.stderr.read_text().startswith(said)


async def test_edges_share_their_port_and_each_has_its_log_and_is_started_again(launch: Launch, here: Path) -> None:
    plant(here, "edge", "print('an edge')\n" + EDGE)
    composed = await launch("--workers", "3")
    url = await composed.ready()
    given = json.loads((here / "environment").read_text())
    assert given["EDGE_REUSE_PORT"] == "1"
    assert url.endswith(f":{given['EDGE_PORT']}")

    def edges() -> set[int]:
        found = set()
        for child in composed.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
                if child.cmdline()[-2:] == ["-m", "edge"]:
                    found.add(child.pid)
        return found

    await wait_until(lambda: len(edges()) == 3, description="three edges run")
    for name in ("edge", "edge-2", "edge-3"):  # one of them answers for the port; the others may still be starting
        journal = composed.logs / f"{name}.log"
        await wait_until(lambda j=journal: j.read_text().startswith("an edge\n"), description=f"{name} has its log")
    killed = max(edges())
    psutil.Process(killed).kill()
    await wait_until(lambda: len(edges() - {killed}) == 3, description="another one runs")
    assert re.search(r"compose: edge(-\d)? was ended by a signal", composed.stderr.read_text())
    assert await composed.stop() == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--port", "70000"], "'70000' is not a port number, 0 to 65535"),
        (["--workers", "many"], "'many' is not a number of edge processes, 1 to 64"),
        (["--host", "192.0.2.1"], "compose: cannot listen on 192.0.2.1: Cannot assign requested address"),
        (["--data", "stderr"], "compose: cannot keep data in stderr: it is not a folder"),
    ],
)
async def test_wrong_arguments_are_told(launch: Launch, more: list[str], said: str) -> None:
    composed = await launch(*more)
    assert await composed.ended() == 2
    assert said in composed.stderr.read_text()


async def test_a_server_that_cannot_start_is_told(launch: Launch, here: Path) -> None:
    (here / "my data" / "nats").mkdir(parents=True)
    (here / "my data" / "nats" / "jetstream").touch()
    composed = await launch()
    assert await composed.ended() == 2
    assert "compose: nats-server ended with 1 at its start:\n" in composed.stderr.read_text()
