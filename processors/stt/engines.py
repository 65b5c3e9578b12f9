"""The speech models of one worker: its own, and others that are loaded when they are asked for.

Few of those have room at a time. Who wants another one gets the place of one that nobody uses, the least recently used;
if all are in use for long, that one takes nothing new, so that its place becomes free.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from bus import StartError
from processors.stt.core import Model, Unfit
from processors.stt.scheduler import Scheduler, SpeechEngine

log = structlog.get_logger()

PATIENCE = 10.0
"""Seconds that one waits for a place before a model that is in use has to go: loading takes seconds too."""


class Unavailable(Exception):
    """A model that is offered could not be loaded this time."""


class Loaded(NamedTuple):
    """A model that can be used, and who feeds it."""

    model: Model
    scheduler: Scheduler


@dataclass(eq=False)
class _Place:
    ready: asyncio.Task[Loaded]
    users: int = 0
    used: int = 0
    leaving: bool = False

    @property
    def idle(self) -> bool:
        return not self.users and self.ready.done()


class Engines:
    """A worker's models. own: what is used where none is named; others: by name, what `load` is given for it.

    `load` blocks, and is called in a thread. `most`: how many are loaded at a time beside the own one.
    """

    def __init__(
        self,
        own: SpeechEngine,
        others: Mapping[str, str],
        load: Callable[[str], SpeechEngine],
        schedule: Callable[[SpeechEngine], Scheduler],
        most: int,
    ) -> None:
        self.own = Loaded(own.model, schedule(own))
        self._others = {name: value for name, value in others.items() if name != own.model.name}
        self._load = load
        self._schedule = schedule
        self._most = most
        self._places: dict[str, _Place] = {}
        self._uses = itertools.count()
        self._changed = asyncio.Event()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")

    @property
    def loaded(self) -> list[str]:
        """The models that have a place beside the own one."""
        return list(self._places)

    @asynccontextmanager
    async def using(self, name: str | None) -> AsyncIterator[Loaded]:
        """A model for as long as the block runs; waits until it is loaded.

        Raises Unfit for one that is not offered, Unavailable for one that cannot be loaded.
        """
        if name is None or name == self.own.model.name:
            yield self.own
            return
        if name not in self._others:
            accepted = ", ".join(["null (the worker's own)", self.own.model.name, *self._others])
            raise Unfit(f"model {name!r}: not offered; accepted: {accepted}")
        place = await self._take_place(name)
        try:
            yield await asyncio.shield(place.ready)
        finally:
            place.users -= 1
            useless = place.idle and (place.leaving or place.ready.cancelled() or place.ready.exception())
            if useless and self._places.get(name) is place:
                self._drop(name)
            self._tell()

    def close(self) -> None:
        """Take nothing more; what is being decoded goes on, and nobody waits for it."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        for name, place in list(self._places.items()):
            place.ready.cancel()
            self._drop(name)
        self.own.scheduler.close()

    async def _take_place(self, name: str) -> _Place:
        clock = asyncio.get_running_loop().time
        until = clock() + PATIENCE
        while True:
            place = self._places.get(name)
            if place is None and self._has_room():
                place = self._places[name] = _Place(asyncio.create_task(self._make(name)))
                place.ready.add_done_callback(lambda task: task.cancelled() or task.exception())
            if place is not None and not place.leaving:
                place.users += 1
                place.used = next(self._uses)
                return place
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                self._ask_one_to_leave()
                until = clock() + PATIENCE

    def _has_room(self) -> bool:
        if len(self._places) < self._most:
            return True
        idle = [name for name, place in self._places.items() if place.idle]
        if not idle:
            return False
        self._drop(min(idle, key=lambda name: self._places[name].used))
        return True

    def _ask_one_to_leave(self) -> None:
        if not any(place.leaving for place in self._places.values()):
            min(self._places.values(), key=lambda place: place.used).leaving = True

    def _drop(self, name: str) -> None:
        ready = self._places.pop(name).ready
        if ready.done() and not ready.cancelled() and not ready.exception():
            ready.result().scheduler.close()
            log.info("speech model dropped", model=name)

    def _tell(self) -> None:
        self._changed.set()
        self._changed.clear()

    async def _make(self, name: str) -> Loaded:
        try:
            engine = await asyncio.get_running_loop().run_in_executor(self._loader, self._load, self._others[name])
        except StartError as exc:
            raise Unavailable(f"model {name!r} cannot be loaded: {str(exc).partition(': ')[2]}") from exc
        log.info("speech model loaded", model=name, hash=engine.model.hash)
        return Loaded(engine.model, self._schedule(engine))
