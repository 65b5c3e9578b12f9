"""The whole run: a system, meetings in it, a storm over it, the calm after it, and the verdict."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bus import Bus, connect
from chaos.caller import Caller
from chaos.chance import chance
from chaos.collector import collect
from chaos.evidence import Evidence, Segment
from chaos.faults import Fault, schedule
from chaos.sound import clips, lengths, meeting
from chaos.stage import PROCESSES, Stage, raised
from chaos.storm import Storm
from chaos.verdict import Verdict, judge
from store import jobs
from tools.system import ROOT

CALM_AT_ONCE = 4


@dataclass(frozen=True)
class Plan:
    """What is asked for. `spare`: processes, or `client`, that no fault strikes; times are in seconds."""

    seed: int
    seconds: float
    meetings: int
    every: float
    patience: float
    spare: frozenset[str] = frozenset()

    def faults(self) -> list[Fault]:
        """When what strikes."""
        struck = [name for name in PROCESSES if name not in self.spare]
        return schedule(self.seed, self.seconds, struck, every=self.every, clients="client" not in self.spare)

    def rooms(self) -> list[list[tuple[str, bytes]]]:
        """For each meeting that is held at once: the names and sounds of those that follow each other there."""
        sentences, unbroken = clips(ROOT / "samples")
        rooms = []
        for room in range(1, self.meetings + 1):
            random = chance(self.seed, "room", room)
            sounds = [meeting(random, sentences, unbroken, length) for length in lengths(random, self.seconds)]
            rooms.append([(f"{room}.{number}", sound) for number, sound in enumerate(sounds, 1)])
        return rooms


@dataclass(frozen=True)
class Played:
    """What came of it: the faults that struck, and a verdict for each meeting, in the storm and in calm."""

    faults: Sequence[Fault]
    verdicts: Sequence[Verdict]
    calm: Sequence[Verdict]
    closes: Mapping[int, int]
    """How connections ended in the storm, by close code."""
    evictions: int
    """How often a connection that its client had given up took over from the newest one."""


async def play(plan: Plan, folder: Path, say: Callable[[str], None]) -> Played:
    """Run the plan with all data below `folder`; raises StageError or SystemFailed if there is no system to strike."""
    rooms = plan.rooms()
    say("starting the system, with a second edge, segmenter and speech worker")
    async with raised(folder) as stage, connect(stage.system.bus_url, name="chaos") as bus:
        say(f"{plan.meetings} meetings at once, faults for {plan.seconds:g} s, logs in {folder / 'logs'}")
        callers, faults = await _hold_in_storm(plan, stage, bus, rooms, say)
        say("the same meetings once more, in calm")
        calm = [_caller(plan, stage, f"{c.name} calm", c.sent, paced=False) for c in callers]
        await _hold_in_calm(calm, plan.patience + sum(len(c.sent) for c in calm) / 32_000, say)
        async with jobs.connect(stage.store_url) as store:
            stormy = [await collect(bus, store, caller) for caller in callers]
            references = [await collect(bus, store, caller) for caller in calm]
    closes = sum((caller.told.closes for caller in callers), Counter[int]())
    return Played(
        faults,
        [judge(found, _expected(reference)) for found, reference in zip(stormy, references, strict=True)],
        [judge(reference, None) for reference in references],
        closes,
        sum(caller.evictions for caller in callers),
    )


async def _hold_in_storm(
    plan: Plan, stage: Stage, bus: Bus, rooms: Sequence[Sequence[tuple[str, bytes]]], say: Callable[[str], None]
) -> tuple[list[Caller], list[Fault]]:
    callers: list[Caller] = []
    running: dict[Caller, asyncio.Task[None]] = {}

    async def room(sounds: Sequence[tuple[str, bytes]]) -> None:
        for name, sound in sounds:
            caller = _caller(plan, stage, name, sound)
            callers.append(caller)
            running[caller] = asyncio.create_task(caller.run())
            await caller.sound_over.wait()

    storm = Storm(stage, bus, lambda: [caller for caller, task in running.items() if not task.done()], say)
    async with asyncio.TaskGroup() as group:
        for sounds in rooms:
            group.create_task(room(sounds))
        group.create_task(storm.run(plan.faults()))
    say("the storm is over")
    await stage.recovered()
    await _finish(list(running.values()), plan.patience, say)
    return callers, storm.done


async def _hold_in_calm(callers: Sequence[Caller], patience: float, say: Callable[[str], None]) -> None:
    places = asyncio.Semaphore(CALM_AT_ONCE)

    async def hold(caller: Caller) -> None:
        async with places:
            await caller.run()

    await _finish([asyncio.create_task(hold(caller)) for caller in callers], patience, say)


async def _finish(tasks: Sequence[asyncio.Task[None]], patience: float, say: Callable[[str], None]) -> None:
    """Wait for meetings to end, within bounds; raises what a client raised."""
    done, late = await asyncio.wait(tasks, timeout=patience)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    say(f"{len(done)} meetings have ended" + (f", {len(late)} have not within {patience:g} s" if late else ""))


def _caller(plan: Plan, stage: Stage, name: str, sound: bytes, *, paced: bool = True) -> Caller:
    return Caller(name, sound, stage.edges, chance(plan.seed, "caller", name), paced=paced)


def _expected(reference: Evidence) -> list[Segment] | None:
    """The segments of a meeting held in calm; None if it did not come to its end."""
    finished = reference.told.finished and reference.state == "completed"
    return sorted(reference.transcripts) if finished else None
