"""nats-server is started again once there is room on a full disk: after a failed write it stores nothing any more."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from compose.servers import Server
from compose.system import SERVER_GRACE, ask_readiness

MB = 1_000_000
ENOUGH = 200 * MB
"""Bytes of free space with which nats-server is started again; on a small disk a tenth of it."""

_SETTLED = 10.0
"""Seconds after a start in which the edge notices that messages are stored again."""


async def keep_storing(
    nats: Server, data: Path, host: str, port: int, say: Callable[[str], None], every: float = 2.0
) -> None:
    """Start `nats` again whenever the edge says that it stores nothing and there is room; runs until cancelled.

    data: a folder on its disk. host, port: where the edge listens. every: seconds between two looks.
    """
    told = ""
    while True:
        await asyncio.sleep(every)
        trouble = await _trouble(host, port)
        if not trouble:
            if told:
                say("messages are stored again")
            told = ""
            continue
        usage = shutil.disk_usage(data)
        if trouble != told:
            told = trouble
            say(f"nothing can be stored: {trouble}; {usage.free // MB} MB are free for {data}")
        if usage.free >= enough(usage.total):
            say("there is room on the disk: nats-server is started again")
            await nats.stop(SERVER_GRACE)
            await asyncio.sleep(_SETTLED)


def enough(total: int) -> int:
    """Bytes of free space with which nats-server is started again, on a disk of this size."""
    return min(ENOUGH, total // 10)


async def _trouble(host: str, port: int) -> str:
    """What /readyz says of the storage; empty: it is fine, or nothing is known."""
    _, answer = await ask_readiness(host, port)
    try:
        found = str(json.loads(answer)["checks"].get("storage", "ok"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return "" if found == "ok" else found
