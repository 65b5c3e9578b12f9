"""The system under faults: all that compose runs, and a second edge, segmenter and speech worker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from compose.ports import free_port
from compose.system import Part, run
from tools.system import ROOT, System, running_system

SETTINGS = {
    "STT_THREADS": "1",
    "STT_ACK_WAIT": "5",  # so that a stop outlasts this lease too
    "OLLAMA_HOST": "http://127.0.0.1:9",  # nobody listens: summaries are extractive, the same on every machine
    "SUMMARY_CONNECT_DEADLINE": "0.5",
    "EDGE_COALESCE": "2",  # so that meetings come and go both ways
    "VAD_COALESCE": "2",
}

COMPOSED = {
    "edge-1": "edge",
    "vad-1": "processors.vad",
    "stt-1": "processors.stt",
    "summary-1": "processors.summary",
    "nats-server": "nats-server",
    "redis-server": "redis-server",
}
"""Processes that compose runs, by the name that they have here."""

BESIDE = {"edge-2": "edge", "vad-2": "processors.vad", "stt-2": "processors.stt"}
"""Further processes, which can take over."""

PROCESSES = (*COMPOSED, *BESIDE)

_READY_WITHIN = 60.0


class NotReady(Exception):
    """The system does not come up; the message says what is missing."""


@dataclass(frozen=True)
class ChaosSystem:
    """A running system. `edges`: addresses of both; `env`: what its processes have as their environment."""

    base: System
    """What compose runs."""
    edges: tuple[str, str]
    env: Mapping[str, str]
    beside: Mapping[str, Part]

    @property
    def store_url(self) -> str:
        """Where its store listens."""
        return self.env["STORE_URL"]

    def pid(self, name: str) -> int | None:
        """The process of that name as it runs now, or None while it is down."""
        if (part := self.beside.get(name)) is not None:
            return part.child.pid if part.child and part.child.returncode is None else None
        return _child(self.base.process.pid, COMPOSED[name])

    def signal(self, name: str, number: signal.Signals) -> int | None:
        """Send a signal to the process of that name; returns its id, or None if it is down."""
        pid = self.pid(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    async def recovered(self) -> None:
        """Return when every process runs and both edges are ready; raises NotReady."""
        reasons = "nothing was asked yet"
        try:
            async with asyncio.timeout(_READY_WITHIN), httpx.AsyncClient(trust_env=False, timeout=5) as http:
                while True:
                    reasons = await self._missing(http)
                    if not reasons:
                        return
                    await asyncio.sleep(0.2)
        except TimeoutError as exc:
            raise NotReady(f"after {_READY_WITHIN:g} s the system is not ready: {reasons}") from exc

    async def _missing(self, http: httpx.AsyncClient) -> str:
        """What is not there; empty if nothing."""
        missing = [name for name in PROCESSES if self.pid(name) is None]
        for edge in self.edges:
            try:
                answer = await http.get(f"{edge}/readyz")
            except httpx.HTTPError as exc:
                missing.append(f"{edge} ({exc or type(exc).__name__})")
            else:
                missing += [] if answer.is_success else [f"{edge} ({answer.text})"]
        return ", ".join(missing)


@asynccontextmanager
async def started(data: Path) -> AsyncIterator[ChaosSystem]:
    """A system on free ports that keeps all below `data`; raises NotReady, or SystemFailed of `tools.system`."""
    async with running_system(data, root=ROOT, **SETTINGS) as base:
        edge = _child(base.process.pid, "edge")
        if edge is None:
            raise NotReady("the edge has just ended")
        env = psutil.Process(edge).environ()
        port = free_port()
        logs = data / "logs"
        beside = {
            name: Part(module, logs / f"{name}.log", env | {"EDGE_PORT": str(port)}) for name, module in BESIDE.items()
        }
        system = ChaosSystem(base, (base.url, f"http://127.0.0.1:{port}"), env, beside)
        with (logs / "beside.log").open("a") as log:
            running = asyncio.create_task(_run_beside(system, lambda text: print(text, file=log, flush=True)))
            try:
                await asyncio.wait(
                    [running, up := asyncio.create_task(system.recovered())], return_when="FIRST_COMPLETED"
                )
                if running.done():
                    running.result()
                await up
                yield system
            finally:
                for name in PROCESSES:
                    system.signal(name, signal.SIGCONT)
                running.cancel()
                await asyncio.gather(running, up, return_exceptions=True)


async def _run_beside(system: ChaosSystem, say: Callable[[str], None]) -> None:
    async def ready() -> None:
        """Ready is what `recovered` says."""

    await run([], list(system.beside.values()), ready=ready, say=say)


def _child(parent: int, name: str) -> int | None:
    """The child that is the server `name`, or `python -m NAME`."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(parent).children():
            with suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.name() == name or process.cmdline()[-2:] == ["-m", name]:
                    return process.pid
    return None
