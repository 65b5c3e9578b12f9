"""Faults as they strike: the schedule is given, here it happens."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence

from bus import Bus
from chaos.caller import Caller
from chaos.faults import Fault
from chaos.stage import Stage

GARBAGE = b"\xc1garbage"
"""0xC1 begins nothing in msgpack, and an audio frame is longer."""

_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
_PATIENCE = 30.0
"""Seconds to wait for something that a fault can strike: a process that was killed is just being started again."""


class Storm:
    """Strikes a stage. `meetings` gives the callers that have begun and have not ended; `done` is what has struck."""

    def __init__(
        self, stage: Stage, bus: Bus, meetings: Callable[[], Sequence[Caller]], say: Callable[[str], None]
    ) -> None:
        self.done: list[Fault] = []
        self._stage = stage
        self._bus = bus
        self._meetings = meetings
        self._say = say

    async def run(self, faults: Iterable[Fault]) -> None:
        """Let each fault strike at its time; returns when all have, and what was stopped goes on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at - loop.time()))
                group.create_task(self._strike(fault))

    async def _strike(self, fault: Fault) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    hit = await self._hit(fault)
                    if hit is not None:
                        break
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self._say(f"{fault.at:7.2f} s  {fault.kind} {fault.target}: nothing to strike")
            return
        self.done.append(fault)
        self._say(f"{fault.at:7.2f} s  {fault.kind} {fault.target}: {hit}")
        if fault.lasts:
            await asyncio.sleep(fault.lasts)
            self._stage.signal(fault.target, signal.SIGCONT)

    async def _hit(self, fault: Fault) -> str | None:
        """Do it; returns what exactly was struck, or None if it is not there now."""
        if fault.kind == "poison":
            return await self._poison(fault)
        if fault.kind in _SIGNALS:
            pid = self._stage.signal(fault.target, _SIGNALS[fault.kind])
            return None if pid is None else f"process {pid}" + (f" for {fault.lasts:g} s" if fault.lasts else "")
        caller = _draw([caller for caller in self._meetings() if caller.connected], fault.lot)
        if caller is None or not (caller.abort() if fault.kind == "abort" else caller.take_over()):
            return None
        return caller.name

    async def _poison(self, fault: Fault) -> str | None:
        caller = _draw([caller for caller in self._meetings() if caller.connected], fault.lot)
        if caller is None:
            return None
        subject = fault.target.format(job=caller.job, stray=f"stray-{len(self.done)}")
        await self._bus.store(subject, GARBAGE)
        return f"{subject} of {caller.name}"


def _draw(callers: Sequence[Caller], lot: float) -> Caller | None:
    return callers[int(lot * len(callers))] if callers else None
