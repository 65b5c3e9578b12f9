"""The edge as a process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from bus import Bus, StartError, run
from bus.run import load
from edge.app import application
from edge.capture.shortcut import MAX_MESSAGE, ShortcutProtocol
from edge.services import Settings
from store.jobs import StoreSettings

RECEIVE_BUFFER = 32_768
"""Bytes of the kernel's receive buffer that are asked for, for each connection; Linux doubles them."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to `bus.run`."""
        yield


async def main(bus: Bus, settings: Settings) -> None:
    """Listen until the bus is stopping; clients may come while the bus or the store is still away, and are told so."""
    listening = _listen(settings.host, settings.port, reuse=settings.reuse_port)
    config = uvicorn.Config(
        application(bus, settings, load(StoreSettings)),
        ws=ShortcutProtocol,
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,  # speech does not compress; it costs CPU and up to 300 kB a connection
        # A client is not heard while its audio waits for the bus, so a missing pong must not end its connection.
        ws_ping_timeout=None,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    stopping = asyncio.create_task(bus.stopping.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.should_exit = True
    await serving


def _listen(host: str, port: int, *, reuse: bool) -> socket.socket:
    """Bind a port; with `reuse` together with other processes of the same user, among which the kernel deals out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, reuse_port=reuse)
    except OSError as exc:
        raise StartError(f"cannot listen on {host} port {port} (EDGE_HOST, EDGE_PORT): {exc.strerror}") from exc
    except ValueError as exc:
        raise StartError(f"EDGE_REUSE_PORT: this system cannot share a port between processes ({exc})") from exc
    # Inherited by each connection. What the kernel holds for a connection that waits is also what arrives at once when
    # it is read again, so a small buffer bounds both; it still lets a distant client send at ten times real time.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return listening


if __name__ == "__main__":
    run("edge", main, Settings, wait=False)
