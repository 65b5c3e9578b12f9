from __future__ import annotations

import json
from importlib.metadata import version

from bus import Bus
from bus.requests import announce, answering, ask, listening, present
from contract import Progress
from tests.support import wait_until


async def test_a_broadcast_is_received_and_not_stored(bus: Bus) -> None:
    heard: list[Progress] = []
    progress = Progress(job="a", heard=480, floor=0, segments=0)
    async with listening(bus, Progress, "a", heard.append):
        await bus.connection.nc.publish("live.a.progress", b"garbage")
        assert await bus.publish(progress) == 0
        await wait_until(lambda: heard == [progress], description="the progress")


async def test_only_the_program_that_knows_a_job_answers_for_it(bus: Bus) -> None:
    known = {"a": b"\x00yes", "b": b""}
    async with answering(bus, "live.*.snapshot", known.get), answering(bus, "live.*.snapshot", lambda _job: None):
        assert (await bus.connection.nc.request("live.a.snapshot", b"", timeout=60)).data == b"\x00yes"
        assert await ask(bus, "live.b.snapshot") is not None
        assert await ask(bus, "live.c.snapshot", timeout=0.2) is None


async def test_an_announced_worker_answers_with_its_kind_and_version(bus: Bus) -> None:
    assert not await present(bus, "stt", timeout=0.2)
    await announce(bus, "stt")
    assert await present(bus, "stt")
    assert json.loads(await ask(bus, "$SRV.PING.stt") or b"")["version"] == version("stenobus")
    assert not await present(bus, "vad", timeout=0.2)
