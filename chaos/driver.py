"""The whole run: a system, meetings under faults, the same meetings undisturbed, and the verdict."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bus import Bus, connect
from chaos.client import Client
from chaos.collector import collect
from chaos.evidence import Evidence, Segment
from chaos.faults import Fault, FaultInjector, schedule, seeded
from chaos.sound import clips, lengths, meeting
from chaos.system import PROCESSES, ChaosSystem, started
from chaos.verdict import Verdict, judge
from store import jobs
from tools.system import ROOT

CALM_AT_ONCE = 4


@dataclass(frozen=True)
class Plan:
    """What is to be run. `spare`: processes, or `client`, that no fault hits; times are in seconds."""

    seed: int
    seconds: float
    meetings: int
    every: float
    patience: float
    spare: frozenset[str] = frozenset()

    def faults(self) -> list[Fault]:
        """The faults and their times."""
        struck = [name for name in PROCESSES if name not in self.spare]
        return schedule(self.seed, self.seconds, struck, every=self.every, clients="client" not in self.spare)

    def rooms(self) -> list[list[tuple[str, bytes]]]:
        """For each meeting that is held at once: the names and sounds of those that follow each other there."""
        sentences, unbroken = clips(ROOT / "samples")
        rooms = []
        for room in range(1, self.meetings + 1):
            random = seeded(self.seed, "room", room)
            sounds = [meeting(random, sentences, unbroken, length) for length in lengths(random, self.seconds)]
            rooms.append([(f"{room}.{number}", sound) for number, sound in enumerate(sounds, 1)])
        return rooms


@dataclass(frozen=True)
class Outcome:
    """The result: the faults that happened, and a verdict for each meeting, under faults and undisturbed."""

    faults: Sequence[Fault]
    verdicts: Sequence[Verdict]
    calm: Sequence[Verdict]
    closes: Mapping[int, int]
    """How connections ended under faults, by close code."""
    evictions: int
    """How often a connection that its client had given up took over from the newest one."""


async def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Run the plan with all data below `folder`; raises NotReady or SystemFailed if the system does not start."""
    rooms = plan.rooms()
    say("starting the system, with a second edge, segmenter and speech worker")
    async with started(folder) as system, connect(system.base.bus_url, name="chaos") as bus:
        say(f"{plan.meetings} meetings at once, faults for {plan.seconds:g} s, logs in {folder / 'logs'}")
        clients, faults = await _hold_under_faults(plan, system, bus, rooms, say)
        say("the same meetings once more, in calm")
        calm = [_client(plan, system, f"{c.name} calm", c.sent, paced=False) for c in clients]
        await _hold_in_calm(calm, plan.patience + sum(len(c.sent) for c in calm) / 32_000, say)
        async with jobs.connect(system.store_url) as store:
            disturbed = [await collect(bus, store, client) for client in clients]
            references = [await collect(bus, store, client) for client in calm]
    closes = sum((client.told.closes for client in clients), Counter[int]())
    return Outcome(
        faults,
        [judge(found, _expected(reference)) for found, reference in zip(disturbed, references, strict=True)],
        [judge(reference, None) for reference in references],
        closes,
        sum(client.evictions for client in clients),
    )


async def _hold_under_faults(
    plan: Plan, system: ChaosSystem, bus: Bus, rooms: Sequence[Sequence[tuple[str, bytes]]], say: Callable[[str], None]
) -> tuple[list[Client], list[Fault]]:
    clients: list[Client] = []
    running: dict[Client, asyncio.Task[None]] = {}

    async def room(sounds: Sequence[tuple[str, bytes]]) -> None:
        for name, sound in sounds:
            client = _client(plan, system, name, sound)
            clients.append(client)
            running[client] = asyncio.create_task(client.run())
            await client.sound_over.wait()

    injector = FaultInjector(system, bus, lambda: [client for client, task in running.items() if not task.done()], say)
    async with asyncio.TaskGroup() as group:
        for sounds in rooms:
            group.create_task(room(sounds))
        group.create_task(injector.run(plan.faults()))
    say("no more faults")
    await system.recovered()
    await _finish(list(running.values()), plan.patience, say)
    return clients, injector.done


async def _hold_in_calm(clients: Sequence[Client], patience: float, say: Callable[[str], None]) -> None:
    places = asyncio.Semaphore(CALM_AT_ONCE)

    async def hold(client: Client) -> None:
        async with places:
            await client.run()

    await _finish([asyncio.create_task(hold(client)) for client in clients], patience, say)


async def _finish(tasks: Sequence[asyncio.Task[None]], patience: float, say: Callable[[str], None]) -> None:
    """Wait for meetings to end, within bounds; raises what a client raised."""
    done, late = await asyncio.wait(tasks, timeout=patience)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    say(f"{len(done)} meetings have ended" + (f", {len(late)} have not within {patience:g} s" if late else ""))


def _client(plan: Plan, system: ChaosSystem, name: str, sound: bytes, *, paced: bool = True) -> Client:
    return Client(name, sound, system.edges, seeded(plan.seed, "client", name), paced=paced)


def _expected(reference: Evidence) -> list[Segment] | None:
    """The segments of a meeting held in calm; None if it did not come to its end."""
    finished = reference.told.finished and reference.state == "completed"
    return sorted(reference.transcripts) if finished else None
