"""Faults: a schedule that follows from a seed (pure), and the injector that makes them happen."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from bus import Bus
from chaos.client import Client
from chaos.system import ChaosSystem


def seeded(*of: object) -> Random:
    """A generator that depends only on its arguments: `seeded(seed, "room", 3)` always gives the same numbers."""
    return Random(" ".join(map(str, of)))


Kind = Literal["kill", "term", "stop", "abort", "takeover", "poison"]

PROCESS_KINDS: tuple[Kind, ...] = ("kill", "term", "stop")
"""SIGKILL; SIGTERM; SIGSTOP and, some seconds later, SIGCONT."""

CLIENT_KINDS: tuple[Kind, ...] = ("abort", "takeover")
"""A client's TCP connection is reset; a client comes back while its old connection is still open."""

CLIENT_CARDS = 4
"""How often each fault of a client is in the deck: there are several clients."""

POISONED = ("speech.{job}.1.live", "audio.{job}", "events.{job}.opened", "events.{job}.nonsense",
            "speech.{stray}.1.live", "events.{stray}.opened", "events.{stray}.closed")  # fmt: skip
"""Where garbage is published. `{job}`: a meeting in progress; `{stray}`: one that does not exist."""

LEAST_STOP, MOST_STOP = 6.0, 9.0
"""Seconds of a stop: longer than the lease of the segmenter and, as they are run here, of the speech workers (5 s)."""


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One fault, `at` seconds after the injector started."""

    at: float
    kind: Kind
    target: str
    """A process, `client`, or the subject that is poisoned."""
    lasts: float = 0.0
    """Seconds until a stopped process goes on."""
    lot: float = 0.0
    """Draws one of the meetings that are held then: 0 the first, just under 1 the last."""


def schedule(seed: int, seconds: float, processes: Sequence[str], *, every: float, clients: bool = True) -> list[Fault]:
    """Faults in order of time, `every` seconds on average; all pairs of kind and target come before any comes again.

    A process that is stopped is left alone until it goes on.
    """
    random = seeded(seed, "faults")
    found: list[Fault] = []
    deck: list[tuple[Kind, str]] = []
    stopped_until = dict.fromkeys(processes, 0.0)
    at = 0.0
    while True:
        at += random.uniform(0.2, 1.8) * every
        if at >= seconds:
            return found
        if not deck:
            deck = cards(processes, clients=clients)
            random.shuffle(deck)
        place = next((place for place, card in enumerate(deck) if stopped_until.get(card[1], 0.0) <= at), None)
        if place is None:
            continue
        kind, target = deck.pop(place)
        lasts = round(random.uniform(LEAST_STOP, MOST_STOP), 2) if kind == "stop" else 0.0
        if lasts:
            stopped_until[target] = at + lasts + 1.0
        found.append(Fault(round(at, 2), kind, target, lasts, random.random()))


def cards(processes: Sequence[str], *, clients: bool) -> list[tuple[Kind, str]]:
    """Every pair of kind and target, once, or as often as it is to come up among the others."""
    deck: list[tuple[Kind, str]] = [(kind, process) for process in processes for kind in PROCESS_KINDS]
    deck += [("poison", subject) for subject in POISONED]
    if clients:
        deck += [(kind, "client") for kind in CLIENT_KINDS] * CLIENT_CARDS
    return deck


GARBAGE = b"\xc1garbage"
"""0xC1 begins nothing in msgpack, and an audio frame is longer."""

_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
_TARGET_TIMEOUT = 30.0
"""Seconds to wait for the target of a fault: a process that was killed is just being started again."""


class FaultInjector:
    """Injects faults. `meetings` returns the clients in progress; `done`: the faults that happened."""

    def __init__(
        self, system: ChaosSystem, bus: Bus, meetings: Callable[[], Sequence[Client]], say: Callable[[str], None]
    ) -> None:
        self.done: list[Fault] = []
        self._system = system
        self._bus = bus
        self._meetings = meetings
        self._say = say

    async def run(self, faults: Iterable[Fault]) -> None:
        """Inject each fault at its time; returns after the last one, when stopped processes run again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at - loop.time()))
                group.create_task(self._strike(fault))

    async def _strike(self, fault: Fault) -> None:
        try:
            async with asyncio.timeout(_TARGET_TIMEOUT):
                while True:
                    hit = await self._hit(fault)
                    if hit is not None:
                        break
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self._say(f"{fault.at:7.2f} s  {fault.kind} {fault.target}: no target")
            return
        self.done.append(fault)
        self._say(f"{fault.at:7.2f} s  {fault.kind} {fault.target}: {hit}")
        if fault.lasts:
            await asyncio.sleep(fault.lasts)
            self._system.signal(fault.target, signal.SIGCONT)

    async def _hit(self, fault: Fault) -> str | None:
        """Inject it; returns what exactly was hit, or None if the target is not there now."""
        if fault.kind == "poison":
            return await self._poison(fault)
        if fault.kind in _SIGNALS:
            pid = self._system.signal(fault.target, _SIGNALS[fault.kind])
            return None if pid is None else f"process {pid}" + (f" for {fault.lasts:g} s" if fault.lasts else "")
        client = _draw([client for client in self._meetings() if client.connected], fault.lot)
        if client is None or not (client.abort() if fault.kind == "abort" else client.take_over()):
            return None
        return client.name

    async def _poison(self, fault: Fault) -> str | None:
        client = _draw([client for client in self._meetings() if client.connected], fault.lot)
        if client is None:
            return None
        subject = fault.target.format(job=client.job, stray=f"stray-{len(self.done)}")
        await self._bus.store(subject, GARBAGE)
        return f"{subject} of {client.name}"


def _draw(clients: Sequence[Client], lot: float) -> Client | None:
    return clients[int(lot * len(clients))] if clients else None
