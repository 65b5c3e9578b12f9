from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

import psutil
import pytest

from bench.deployment import Cost, DeployError, OtherPrograms, Part, Usage, cpu_seconds, deployed, edge_part, vad_part
from compose.child import Child
from tests.support import wait_until

BUSY = Part("busy", ["-c", "while True: pass"])


def test_processor_time_is_that_of_the_process_with_all_its_threads() -> None:
    before = process_time()
    found = cpu_seconds([psutil.Process(), psutil.Process()])
    assert 2 * before - 0.05 <= found <= 2 * process_time() + 0.05  # some systems count in steps of 10 ms


def test_usage_is_the_difference() -> None:
    before, after = Usage(edge=Cost(1.0, 100.0)), Usage(edge=Cost(1.5, 90.0))
    assert after.since(before) == {"edge": Cost(0.5, -10.0)}


async def test_another_program_counts_while_it_works(tmp_path: Path) -> None:
    others = OtherPrograms()
    child = await Child.spawn([sys.executable, *BUSY.argv], tmp_path / "log")
    try:
        await wait_until(lambda: others.cores() > 0.1, description="the work of the other program is seen")
    finally:
        await child.kill()


@pytest.mark.slow
async def test_the_parts_are_ready_together_and_their_costs_are_told_apart(tmp_path: Path) -> None:
    async with deployed(tmp_path, [edge_part(requires="vad"), vad_part(), BUSY]) as system:
        before = system.usage()
        assert before.keys() == {"nats", "redis", "edge", "vad", "busy"}
        assert all(cost.kilobytes > 1_000 for cost in before.values())
        await wait_until(lambda: system.usage().since(before)["busy"].cpu > 0.2, description="it is busy")
        after = system.usage().since(before)
        assert after["redis"].cpu < after["busy"].cpu
        children = list(system.children.values())
        await system.children["vad"].kill()
        with pytest.raises(DeployError, match="vad has ended with -9"):
            system.cpu()
    assert all(child.returncode is not None for child in children)


async def test_a_part_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = Part("broken", ["-c", "import sys; sys.exit('no room here')"], serves=True)
    with pytest.raises(DeployError, match=r"broken has ended with 1:\nno room here"):
        async with deployed(tmp_path, [broken]):
            pass
