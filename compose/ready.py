"""Waits for the edge to say that the whole system is ready."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable

from compose.ports import LOOPBACK

EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104
"""Addresses one listens on, and the ones to reach them by."""


async def wait_ready(host: str, port: int, say: Callable[[str], None], every: float = 5.0) -> None:
    """Return when `GET /readyz` is 200; until then `say` what is missing, every so many seconds."""
    clock = asyncio.get_running_loop().time
    due = clock() + every
    while True:
        status, answer = await asyncio.to_thread(_get, EVERYWHERE.get(host, host), port)
        if status == http.client.OK:
            return
        if clock() >= due:
            due = clock() + every
            say(f"not ready yet: {missing(answer)}")
        await asyncio.sleep(0.1)


def missing(answer: str) -> str:
    """Return in words what /readyz misses, from `{"checks": {NAME: "ok" or what is wrong}}`; else the answer itself."""
    try:
        checks = json.loads(answer)["checks"]
        return ", ".join(f"{name} ({state})" for name, state in checks.items() if state != "ok")
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer


def _get(host: str, port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=2)  # unlike urllib it never asks a proxy
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read(2_000).decode(errors="replace").strip()
        return response.status, text or f"HTTP {response.status}"
    except (OSError, http.client.HTTPException) as exc:
        return 0, f"the edge does not answer ({exc})"
    finally:
        connection.close()
