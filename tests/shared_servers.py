"""The servers that all tests of one pytest worker share, and how they are emptied between two tests.

Starting a server takes longer than most tests. A test gets an empty server all the same: its streams and keys are
deleted, and where a client of an earlier test is still connected (it could write at any time) a new server is started
in the old one's place.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import nats
import pytest
from redis.asyncio import Redis

from compose.child import GUARD
from compose.ports import LOOPBACK, free_port
from compose.servers import START_TIMEOUT, Server

GRACE = 2.0
"""Seconds for the connections that the last test closed, and the streams that were deleted, to be gone."""


class SharedServer:
    """A server that no event loop owns, because each test has a loop of its own."""

    def __init__(self, make: Callable[[Path], Server], folders: pytest.TempPathFactory) -> None:
        self._make = make
        self._folders = folders

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start one with no data, on a new port; returns when it accepts connections."""
        self.data = self._folders.mktemp("server")
        server = self._make(self.data)
        self.url, self.port, self.monitoring = server.url, server.port, 0
        argv = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *server.argv]
        if server.name == "nats-server":
            self.monitoring = free_port()
            argv += ["-m", str(self.monitoring)]
        with server.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{server.name} did not start:\n{server.log.read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Put a new server in this one's place."""
        self.kill()
        self.start()


async def empty_nats(server: SharedServer) -> str:
    """Delete all streams, with their consumers, and return the server's URL."""

    async def clients() -> int:
        return _nats_clients(server.monitoring)

    async def deleted_streams() -> int:
        return len([*(server.data / "jetstream").glob("*/streams/*")])

    if not await _at_most(0, clients):
        server.restart()
        return server.url
    client = await nats.connect(server.url)
    try:
        streams = client.jetstream()
        for stream in await streams.streams_info():
            await streams.delete_stream(str(stream.config.name))
    finally:
        await client.close()
    # The server removes the files after it has answered. A stream of the same name that is created before that, and
    # then deleted, would come back with its messages: its folder could not be set aside for removal.
    if not await _at_most(0, deleted_streams):
        server.restart()
    return server.url


async def empty_redis(server: SharedServer) -> str:
    """Delete all keys and return the server's URL."""
    client = Redis.from_url(server.url)

    async def clients() -> int:
        return len(await client.client_list())

    try:
        if await _at_most(1, clients):
            await client.flushall()
            return server.url
    finally:
        await client.aclose()
    server.restart()
    return server.url


async def _at_most(most: int, count: Callable[[], Awaitable[int]]) -> bool:
    """Whether no more than this many remain within GRACE."""
    try:
        async with asyncio.timeout(GRACE):
            while True:
                if await count() <= most:
                    return True
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False


def _nats_clients(port: int) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)  # unlike urllib it never asks a proxy
    try:
        connection.request("GET", "/connz")
        answer: dict[str, Any] = json.load(connection.getresponse())
        return int(answer["num_connections"])
    finally:
        connection.close()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
