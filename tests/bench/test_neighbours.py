from __future__ import annotations

import asyncio
import sys

from bench.neighbours import Neighbours
from tests.support import wait_until


async def test_another_program_counts_while_it_works() -> None:
    neighbours = Neighbours()
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    try:
        await wait_until(lambda: neighbours.cores() > 0.1, description="the work of the other program is seen")
    finally:
        other.kill()
        await other.wait()
